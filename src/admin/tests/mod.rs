//! The page and the API over a real socket, on a desk that only notes what it is asked.

mod desk;
#[cfg(test)]
mod look;

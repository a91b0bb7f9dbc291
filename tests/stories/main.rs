//! Stories: the real service in its own process, over real sockets, against the sandbox. One file per story; each test
//! is a sentence of it.

mod keeping_in_step;
mod town;

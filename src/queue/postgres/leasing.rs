//! The desk's leases: of whoever is due, and of one user by name.

use rand::RngExt;

use super::by_name::{self, Asked};
use super::desk::Desk;
use super::fault::Fault;
use super::lease::{self, Request};
use super::tries::{Tries, within};
use crate::queue::{LeaseRequest, Leased, Room, UserLease};

impl Desk {
    pub(super) async fn lease(&mut self, room: Room) -> Result<Leased, Fault> {
        let mut tries = Tries::default();
        loop {
            match self.lease_once(room).await {
                Err(fault) if tries.another(&fault) => {}
                came => return came,
            }
        }
    }

    async fn lease_once(&mut self, room: Room) -> Result<Leased, Fault> {
        let names: Vec<i64> = (0..room.all).map(|_| self.names.random()).collect();
        let (asked, began) = (self.due.ask(), self.clock.now());
        let (given, options) = (self.clock.given(), &self.options);
        let connection = self.line.connection().await?;
        let request = Request { names: &names, room, doubtful: &self.doubtful, given, options };
        let came = within(self.tuning, lease::lease(connection, request)).await;
        match self.line.after(came) {
            Ok(found) => {
                self.doubtful.clear();
                self.clock.keep_to(began, found.now);
                self.due.found(asked, found.next_due);
                Ok(found.leased)
            }
            Err(fault) => {
                if fault.ends_connection() {
                    self.doubtful.extend(names);
                }
                Err(fault)
            }
        }
    }

    /// Under the same name in every try: one whose answer was lost is found, whatever became of it. Where no try is
    /// answered, the next lease undoes what they may have done.
    pub(super) async fn lease_user(&mut self, request: &LeaseRequest) -> Result<UserLease, Fault> {
        let name = self.names.random();
        let (mut tries, mut is_doubtful) = (Tries::default(), false);
        loop {
            let came = self.lease_user_once(request, name).await;
            let Err(fault) = came else { return came };
            is_doubtful |= fault.ends_connection();
            if !tries.another(&fault) {
                self.doubtful.extend(is_doubtful.then_some(name));
                return Err(fault);
            }
        }
    }

    async fn lease_user_once(&mut self, request: &LeaseRequest, name: i64) -> Result<UserLease, Fault> {
        self.undo_doubtful().await?;
        let asked = self.due.ask();
        let (given, options) = (self.clock.given(), &self.options);
        let connection = self.line.connection().await?;
        let by_name = by_name::lease(connection, Asked { request, name, key: &self.key, given, options });
        let came = within(self.tuning, by_name).await;
        let found = self.line.after(came)?;
        if let Some(next_due) = found.next_due {
            self.due.found(asked, next_due);
        }
        Ok(found.lease)
    }

    async fn undo_doubtful(&mut self) -> Result<(), Fault> {
        if self.doubtful.is_empty() {
            return Ok(());
        }
        let given = self.clock.given();
        let connection = self.line.connection().await?;
        let came = within(self.tuning, lease::undo(connection, &self.doubtful, given)).await;
        self.line.after(came)?;
        self.doubtful.clear();
        Ok(())
    }
}

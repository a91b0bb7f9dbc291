//! The cap on connections: a room with so many seats, and who has to leave it for somebody new.
//!
//! A seat's phase is one atomic word, so that a request costs two stores and no lock; the lock is only taken when
//! somebody comes or goes.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Context;
use std::time::Instant;

use futures_util::task::AtomicWaker;
use tokio::sync::Notify;

/// All connections of one listener.
#[derive(Debug)]
pub(super) struct Room {
    cap: usize,
    opened: Instant,
    seats: Mutex<Seats>,
    /// Somebody stands at the door: whoever stops being busy, or leaves, has to say so.
    awaited: AtomicBool,
    changed: Notify,
    finishing: AtomicBool,
    closed: AtomicBool,
}

#[derive(Debug, Default)]
struct Seats {
    taken: HashMap<u64, Arc<Place>>,
    next: u64,
}

/// What the room knows of one connection.
#[derive(Debug)]
struct Place {
    /// Since when (nanoseconds since the room opened) it is in its phase, then a bit "has to leave", two of the phase.
    word: AtomicU64,
    waker: AtomicWaker,
}

/// We wait for a request.
const WAITING: u64 = 0;
/// We wait for a request's body.
const RECEIVING: u64 = 1;
/// A request has come whole and is being answered.
const IN_HAND: u64 = 2;
const PHASE: u64 = 3;
const LEAVING: u64 = 4;
const SINCE: u32 = 3;

/// One connection's place in the room, free again when this is dropped.
#[derive(Debug)]
pub(super) struct Seat {
    room: Arc<Room>,
    number: u64,
    place: Arc<Place>,
}

/// What a connection is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Stay,
    /// Answer what has begun, then leave.
    Finish,
    /// Leave at once.
    Leave,
}

impl Room {
    pub fn open(cap: usize) -> Arc<Self> {
        Arc::new(Self {
            cap: cap.max(1),
            opened: Instant::now(),
            seats: Mutex::default(),
            awaited: AtomicBool::new(false),
            changed: Notify::new(),
            finishing: AtomicBool::new(false),
            closed: AtomicBool::new(false),
        })
    }

    /// A seat, as soon as there is one: at the cap, who has let us wait longest has to leave first. Only one may ask at
    /// a time.
    pub async fn admit(self: &Arc<Self>) -> Seat {
        loop {
            if let Some(seat) = self.try_admit() {
                return seat;
            }
            self.changed.notified().await;
        }
    }

    fn try_admit(self: &Arc<Self>) -> Option<Seat> {
        let mut seats = self.seats();
        if seats.taken.len() >= self.cap {
            // Before looking round: who changes after our look sees it, and who changed before is seen by us.
            self.awaited.store(true, SeqCst);
            if !seats.taken.values().any(|place| place.is_leaving()) {
                ask_one_to_leave(&seats);
            }
            return None;
        }
        self.awaited.store(false, SeqCst);
        let number = seats.next;
        seats.next += 1;
        let place = Arc::new(Place { word: AtomicU64::new(self.now(WAITING)), waker: AtomicWaker::new() });
        seats.taken.insert(number, Arc::clone(&place));
        drop(seats);
        Some(Seat { room: Arc::clone(self), number, place })
    }

    pub fn ask_everybody_to_finish(&self) {
        self.finishing.store(true, SeqCst);
        self.wake_everybody();
    }

    /// Closes the room, with everybody out at once, when it is dropped.
    pub fn guard(self: &Arc<Self>) -> impl Drop + use<> {
        struct Closing(Arc<Room>);
        impl Drop for Closing {
            fn drop(&mut self) {
                self.0.closed.store(true, SeqCst);
                self.0.wake_everybody();
            }
        }
        Closing(Arc::clone(self))
    }

    fn wake_everybody(&self) {
        self.seats().taken.values().for_each(|place| place.waker.wake());
    }

    fn tell_the_door(&self) {
        if self.awaited.load(SeqCst) {
            self.changed.notify_one();
        }
    }

    fn now(&self, phase: u64) -> u64 {
        let since = u64::try_from(self.opened.elapsed().as_nanos()).unwrap_or(u64::MAX);
        (since << SINCE) | phase
    }

    fn seats(&self) -> MutexGuard<'_, Seats> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner) // nothing in here is ever half done
    }
}

/// Asks who has let us wait longest to leave. Where everybody is busy, nobody is asked: the first to be done will tell.
fn ask_one_to_leave(seats: &Seats) {
    loop {
        let waiting = seats.taken.values().filter_map(|place| {
            let word = place.word.load(SeqCst);
            (word & PHASE != IN_HAND).then_some((word, place))
        });
        let Some((word, place)) = waiting.min_by_key(|(word, _)| *word) else { return };
        if place.word.compare_exchange(word, word | LEAVING, SeqCst, SeqCst).is_ok() {
            place.waker.wake();
            return;
        }
    }
}

impl Place {
    fn is_leaving(&self) -> bool {
        self.word.load(SeqCst) & LEAVING != 0
    }
}

impl Seat {
    /// A request's headers have come, and its body too where it has none.
    pub fn request_begins(&self, has_body: bool) {
        self.enter(if has_body { RECEIVING } else { IN_HAND });
    }

    /// The body has come whole.
    pub fn body_ends(&self) {
        // Not where the request has been answered already and only the rest of its body is being dropped.
        if self.place.word.load(SeqCst) & PHASE == RECEIVING {
            self.enter(IN_HAND);
        }
    }

    /// The answer is ready.
    pub fn request_ends(&self) {
        self.enter(WAITING);
        self.room.tell_the_door();
    }

    fn enter(&self, phase: u64) {
        let before = self.place.word.swap(self.room.now(phase), SeqCst);
        // It was asked to leave but something came in time: it stays, and somebody else has to be asked.
        if before & LEAVING != 0 {
            self.room.tell_the_door();
        }
    }

    /// What to do now; `cx` is woken when that changes.
    pub fn order(&self, cx: &Context<'_>) -> Order {
        self.place.waker.register(cx.waker());
        if self.room.closed.load(SeqCst) || self.place.is_leaving() {
            Order::Leave
        } else if self.room.finishing.load(SeqCst) {
            Order::Finish
        } else {
            Order::Stay
        }
    }

    /// Whether no request has begun.
    pub fn is_waiting(&self) -> bool {
        self.place.word.load(SeqCst) & PHASE == WAITING
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.room.seats().taken.remove(&self.number);
        self.room.tell_the_door();
    }
}

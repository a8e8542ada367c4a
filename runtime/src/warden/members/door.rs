//! The door of a cell: how people who joined, or are about to, reach it.
//!
//! An abstract socket, so that other users of the machine can reach it and no place on disk has to be opened to them. It is there only
//! while the cell expects people. Whoever knocks says one short line, soon; wrong secrets cost time, and are few.

use std::{
    collections::HashMap,
    io,
    os::unix::net::UnixListener,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::{
    io::BufReader,
    net::unix::{OwnedReadHalf, OwnedWriteHalf},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinHandle,
};

use super::{
    CONNECTIONS_MOST,
    conversation::{Events, hold, open, refuse},
    lines::{Said, read_line, write},
};
use crate::{
    cell::{CellId, Identity},
    mail::{Greeting, Hello, Reason, Refusal, Secret, Welcome, line_of},
    member,
    warden::post::{Opened, Who},
};

/// The most people at the door and in conversation, together.
const PEOPLE_MOST: usize = 32;
/// Of those, the most of one user who have not said yet with what they come: others still get in.
const KNOCKS_MOST: usize = 4;
/// How long the door waits before it opens again after the system had no descriptor or memory for who knocked.
const SHORT_OF_EVERYTHING: Duration = Duration::from_millis(200);
/// The longest first line: a secret and a few words.
const HELLO_MOST_BYTES: usize = 256;
/// How long somebody may take to say it.
const HELLO_WITHIN: Duration = Duration::from_secs(5);
/// How long whoever is not let in waits for that answer.
const REFUSED_AFTER: Duration = Duration::from_secs(1);
/// Wrong secrets of one user in [`WRONG_WITHIN`], before the next is not even looked at.
const WRONG_MOST: u32 = 8;
/// The time in which they count.
const WRONG_WITHIN: Duration = Duration::from_secs(60);
/// Users whose wrong secrets are counted; those beyond share one count.
const USERS_MOST: usize = 64;

/// An open door. Dropping it closes it; those who are in stay.
pub struct Door {
    listening: JoinHandle<()>,
}

impl Door {
    /// Opens the door of a cell.
    ///
    /// # Errors
    /// Somebody else has taken its name, or no descriptors.
    pub fn open(cell: &CellId, events: Events) -> io::Result<Self> {
        let listener = UnixListener::bind_addr(&member::address(cell)?)?;
        listener.set_nonblocking(true)?;
        let listener = tokio::net::UnixListener::from_std(listener)?;
        let hall = Arc::new(Hall::default());
        let listening = tokio::spawn(async move {
            loop {
                let Ok(place) = Arc::clone(&hall.places).acquire_owned().await else { return };
                let Ok((stream, _)) = listener.accept().await else {
                    // It passes: a door that stayed shut for it would not.
                    tokio::time::sleep(SHORT_OF_EVERYTHING).await;
                    continue;
                };
                tokio::spawn(attend(stream, Arc::clone(&hall), events.clone(), place));
            }
        });
        Ok(Self { listening })
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

/// What all who came through one door have in common.
struct Hall {
    places: Arc<Semaphore>,
    /// Connections by member.
    present: Mutex<HashMap<Identity, usize>>,
    /// Wrong secrets by user id: how many, since when.
    wrong: Mutex<HashMap<u32, (u32, Instant)>>,
    /// Those who have not been let in yet, by user id.
    knocking: Mutex<HashMap<u32, usize>>,
}

impl Default for Hall {
    fn default() -> Self {
        Self {
            places: Arc::new(Semaphore::new(PEOPLE_MOST)),
            present: Mutex::default(),
            wrong: Mutex::default(),
            knocking: Mutex::default(),
        }
    }
}

/// One who knocks, counted until they are let in or not.
struct Knock<'h> {
    hall: &'h Hall,
    user: u32,
}

impl Drop for Knock<'_> {
    fn drop(&mut self) {
        let mut knocking = self.hall.knocking.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = knocking.get_mut(&self.user) {
            *count -= 1;
            if *count == 0 {
                knocking.remove(&self.user);
            }
        }
    }
}

/// One connection of a member, counted for as long as it lasts.
struct Seat<'h> {
    hall: &'h Hall,
    identity: Identity,
}

impl Hall {
    /// Lets one more of a user's connections say with what it comes.
    fn knock(&self, user: u32) -> Option<Knock<'_>> {
        let mut knocking = self.knocking.lock().unwrap_or_else(PoisonError::into_inner);
        let count = knocking.entry(user).or_insert(0);
        if *count >= KNOCKS_MOST {
            return None;
        }
        *count += 1;
        Some(Knock { hall: self, user })
    }

    /// Whether a user may try another secret.
    fn may_try(&self, user: u32, now: Instant) -> bool {
        let wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        wrong.get(&self.counted_as(user, &wrong)).is_none_or(|(count, since)| *count < WRONG_MOST || now - *since >= WRONG_WITHIN)
    }

    /// Notes a wrong secret.
    fn was_wrong(&self, user: u32, now: Instant) {
        let mut wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        wrong.retain(|_, (_, since)| now - *since < WRONG_WITHIN);
        let user = self.counted_as(user, &wrong);
        wrong.entry(user).or_insert((0, now)).0 += 1;
    }

    fn counted_as(&self, user: u32, wrong: &HashMap<u32, (u32, Instant)>) -> u32 {
        if wrong.contains_key(&user) || wrong.len() < USERS_MOST { user } else { u32::MAX }
    }

    /// A seat for one more connection of a member, if there is one.
    fn seat(&self, identity: &Identity) -> Option<Seat<'_>> {
        let mut present = self.present.lock().unwrap_or_else(PoisonError::into_inner);
        let count = present.entry(identity.clone()).or_insert(0);
        if *count >= CONNECTIONS_MOST {
            return None;
        }
        *count += 1;
        Some(Seat { hall: self, identity: identity.clone() })
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        let mut present = self.hall.present.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = present.get_mut(&self.identity) {
            *count -= 1;
            if *count == 0 {
                present.remove(&self.identity);
            }
        }
    }
}

/// Hears what somebody comes with, and lets them in or not.
async fn attend(stream: tokio::net::UnixStream, hall: Arc<Hall>, events: Events, _place: OwnedSemaphorePermit) {
    let Ok(user) = stream.peer_cred().map(|peer| peer.uid()) else { return };
    // Hung up on without a word: whoever knocks so often is no client of ours.
    let Some(knock) = hall.knock(user) else { return };
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    let opened = match hear(&mut reader).await {
        Some(_) if !hall.may_try(user, Instant::now()) => {
            Err(Refusal::new(Reason::TooFast, "join: too many wrong secrets; try again in a minute"))
        }
        Some(hello) => let_in(hello, &events).await,
        None => {
            Err(Refusal::new(Reason::Malformed, "join: say {\"join\":\"SECRET\"} or {\"resume\":\"SESSION\"} first; `lazarus join` does"))
        }
    };
    let (opened, session) = match opened {
        Ok(opened) => opened,
        Err(refusal) => {
            if refusal.reason == Reason::NotGranted {
                hall.was_wrong(user, Instant::now());
            }
            tokio::time::sleep(REFUSED_AFTER).await;
            return refuse(&mut writer, refusal).await;
        }
    };
    drop(knock);
    let Some(_seat) = hall.seat(&opened.caller.identity) else {
        let refusal = Refusal::new(Reason::Full, format!("connect: a member has at most {CONNECTIONS_MOST} connections at a time"));
        refuse(&mut writer, refusal).await;
        return hold_nothing(opened, &events).await;
    };
    converse(reader, writer, opened, session, &events).await;
}

/// The first line; `None` where it is late, too long, or no such thing.
async fn hear(reader: &mut BufReader<OwnedReadHalf>) -> Option<Hello> {
    match tokio::time::timeout(HELLO_WITHIN, read_line(reader, HELLO_MOST_BYTES)).await {
        Ok(Ok(Said::Line(line))) => serde_json::from_slice(&line).ok(),
        Ok(Ok(Said::TooLong | Said::Nothing) | Err(_)) | Err(_) => None,
    }
}

async fn let_in(hello: Hello, events: &Events) -> Result<(Opened, Option<Secret>), Refusal> {
    match hello {
        Hello::Join(secret) => {
            let session = Secret::draw().map_err(|_| Refusal::new(Reason::Failed, "join: no randomness; try again"))?;
            let who = Who::Join { secret_sha256: secret.sha256(), session_sha256: session.sha256() };
            Ok((open(events, who).await?, Some(session)))
        }
        Hello::Resume(session) => Ok((open(events, Who::Resume { session_sha256: session.sha256() }).await?, None)),
    }
}

/// Tells somebody who they are, and serves them.
async fn converse(reader: BufReader<OwnedReadHalf>, mut writer: OwnedWriteHalf, opened: Opened, session: Option<Secret>, events: &Events) {
    let welcome = Welcome { identity: opened.caller.identity.clone(), role: opened.caller.role, session };
    if write(&mut writer, &line_of(&Greeting::Welcome(welcome))).await.is_err() {
        return hold_nothing(opened, events).await;
    }
    hold(reader, writer, opened, events).await;
}

/// Ends a line that was opened for nothing.
async fn hold_nothing(opened: Opened, events: &Events) {
    let close = crate::warden::post::LineEvent::Close(opened.caller.line);
    // The event loop is gone only when the cell is.
    let _ = events.send(crate::warden::watch::Event::Line(close)).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_secrets_are_few_and_of_one_user() {
        let (hall, start) = (Hall::default(), Instant::now());
        for _ in 0..WRONG_MOST {
            assert!(hall.may_try(7, start));
            hall.was_wrong(7, start);
        }
        assert!(!hall.may_try(7, start));
        assert!(hall.may_try(8, start), "another user is not kept out");
        assert!(hall.may_try(7, start + WRONG_WITHIN));
        for user in 0..1000 {
            hall.was_wrong(user, start);
        }
        assert!(hall.wrong.lock().expect("not poisoned").len() <= USERS_MOST + 1, "bounded");
    }

    #[test]
    fn one_user_who_says_nothing_does_not_keep_the_others_out() {
        let hall = Hall::default();
        let mut knocks: Vec<_> = (0..PEOPLE_MOST).filter_map(|_| hall.knock(7)).collect();
        assert_eq!(knocks.len(), KNOCKS_MOST);
        assert!(hall.knock(8).is_some(), "another user is heard");
        knocks.pop();
        assert!(hall.knock(7).is_some(), "whoever was heard makes room");
        drop(knocks);
        assert!(hall.knocking.lock().expect("not poisoned").is_empty());
    }

    #[test]
    fn a_member_has_few_connections() {
        let hall = Hall::default();
        let alice: Identity = "human:alice".parse().expect("an identity");
        let mut seats: Vec<_> = (0..CONNECTIONS_MOST).filter_map(|_| hall.seat(&alice)).collect();
        assert_eq!(seats.len(), CONNECTIONS_MOST);
        assert!(hall.seat(&alice).is_none());
        assert!(hall.seat(&"human:bob".parse().expect("an identity")).is_some());
        seats.pop();
        assert!(hall.seat(&alice).is_some());
        drop(seats);
        assert!(hall.present.lock().expect("not poisoned").is_empty());
    }
}

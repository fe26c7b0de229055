//! The users at both ends of a share: those who send by it, and those who take what is sent.

use super::carriers::{acknowledged, hears_everything, may_capture, may_have_published, stream_reads};
use crate::audit::reach::{self, Carried, mapped};
use crate::audit::system::{Account, Import, System, User};
use crate::model::ShareKind;
use crate::subject::Subject;

/// The users who send by a share, and the messages that others take.
pub struct Parties<'s> {
    /// Those who send, or may.
    pub sent: Vec<Sent<'s>>,
    /// Their messages that arrive, one for each pair of users.
    pub taken: Vec<Taken<'s>>,
}

/// The messages that a user may have sent by a share.
pub struct Sent<'s> {
    /// The user.
    pub by: &'s User,
    /// As the messages are in the other account.
    messages: Vec<Carried<'s>>,
    /// Whether it is sure: which streams there are is not in the file.
    pub is_sure: bool,
}

/// A message of one user that another one takes at the other end of a share.
#[derive(Debug)]
pub struct Taken<'s> {
    /// The sender.
    pub sender: &'s User,
    /// The receiver.
    pub receiver: &'s User,
    /// The subject with which it arrives.
    pub arrives: Subject,
    /// Whether it is sure that the sender can have it sent: which streams there are is not in the file.
    pub is_sent: bool,
    /// Whether it is sure that the receiver takes it, likewise.
    pub is_received: bool,
}

impl Taken<'_> {
    /// Whether a user is the sender or the receiver.
    pub fn has(&self, user: &User) -> bool {
        is_same_user(self.sender, user) || is_same_user(self.receiver, user)
    }
}

/// Whether two references are of one user: names may be the same in several accounts.
pub fn is_same_user(one: &User, other: &User) -> bool {
    std::ptr::eq(one, other)
}

/// An import with the accounts at its ends.
#[derive(Debug, Clone, Copy)]
pub struct Share<'s> {
    /// The import.
    pub import: &'s Import,
    /// The account that shares.
    pub exporter: &'s Account,
    /// The account that imports.
    pub importer: &'s Account,
    /// The account to which requests go on by way of the exporter. `None`: the exporter's own.
    pub on_to: Option<&'s Account>,
}

impl<'s> Share<'s> {
    /// The users who take part. `behind` stands for all who are behind a leaf node that the server dials for one of the accounts.
    pub fn parties<'p>(&self, system: &'p System, behind: &'p User) -> Parties<'p>
    where
        's: 'p,
    {
        let (from, to) = self.ends();
        let dials = |end: &Account| system.server.remote_of(&end.name).is_some();
        let captures = may_capture(from);
        let sent_by = |by: &'p User| {
            let messages = self.carries(system, &may_have_published(system, from, by, self.sent(), captures));
            Sent { by, messages, is_sure: true }
        };
        let mut sent: Vec<Sent<'_>> = from.users.iter().map(sent_by).collect();
        let all = || self.carries(system, &[Carried::new(from, self.sent())]);
        if dials(from) {
            sent.push(Sent { by: behind, messages: all(), is_sure: true });
        }
        sent.extend(acknowledged(from).map(|by| Sent { by, messages: all(), is_sure: false }));
        sent.retain(|sent| !sent.messages.is_empty());
        let receivers = || to.users.iter().chain(Some(behind).filter(|_| dials(to)));
        let pairs = sent.iter().flat_map(|from| receivers().map(move |to| (from, to)));
        let taken = pairs.filter_map(|(sent, receiver)| {
            let (arrives, is_received) = self.taken(system, receiver, &sent.messages)?;
            Some(Taken { sender: sent.by, receiver, arrives, is_sent: sent.is_sure, is_received })
        });
        let taken = taken.collect();
        Parties { sent, taken }
    }

    fn is_stream(&self) -> bool {
        self.import.kind == ShareKind::Stream
    }

    /// The account from which messages go, and the one to which.
    pub fn ends(&self) -> (&'s Account, &'s Account) {
        let asked = self.on_to.unwrap_or(self.exporter);
        if self.is_stream() { (self.exporter, self.importer) } else { (self.importer, asked) }
    }

    /// The subjects on which they go, in the account from which they do.
    fn sent(&self) -> &'s Subject {
        if self.is_stream() { &self.import.subject } else { &self.import.local }
    }

    /// The subject of one of the messages that a user of the other account takes: by its list, or by a stream. And whether
    /// that is sure: which streams there are is not in the file.
    fn taken(&self, system: &System, user: &User, messages: &[Carried<'_>]) -> Option<(Subject, bool)> {
        let (_, to) = self.ends();
        if let Some(arrives) = messages.iter().find_map(|message| message.received_by(user)) {
            return Some((arrives, true));
        }
        let first = messages.first().filter(|_| to.jetstream.is_some())?.subject();
        if hears_everything(to, user).is_some() {
            return Some((first, true));
        }
        let reads = stream_reads(system, to, user);
        let own = || reads.iter().filter(|read| read.owner.name == to.name);
        let mut certain = own().flat_map(|read| &read.certain);
        let holds = |bucket: &Subject| messages.iter().find_map(|message| Some(message.within(bucket)?.subject()));
        match certain.find_map(holds) {
            Some(held) => Some((held, true)),
            None => own().any(|read| read.possible.is_some()).then_some((first, false)),
        }
    }

    /// The messages as they are in the other account, without those that the import does not carry.
    fn carries<'m>(&self, system: &'m System, messages: &[Carried<'m>]) -> Vec<Carried<'m>>
    where
        's: 'm,
    {
        let messages = messages.iter();
        if self.is_stream() {
            return messages.filter_map(|message| reach::copy(message, self.import, self.importer)).collect();
        }
        let requests = messages.filter_map(|message| reach::request(message, self.import, self.exporter));
        let requests = requests.flat_map(|request| mapped(self.exporter, request)).collect();
        let Some(on_to) = self.on_to else { return requests };
        let mut arriving = Vec::new();
        reach::follow(system, requests, |carried| {
            arriving.extend((carried.account.name == on_to.name).then(|| carried.clone()));
        });
        arriving
    }
}

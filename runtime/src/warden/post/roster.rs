//! Who is in the cell, as the registry said when it was last asked.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use crate::{
    cell::{CellId, Identity, OnExpire, ProjectName, Record, Role},
    mail::{Facts, Other},
};

/// How long an answer is believed: the time to live may be extended, and people invited, without a word to the warden.
const BELIEVED: Duration = Duration::from_secs(5);
/// Somebody who is not on it may have come since: then it is asked again, but not more often than this.
const ASKED_AGAIN: Duration = Duration::from_millis(100);

/// A cell's members, its owner, and when its time is over.
#[derive(Debug)]
pub struct Roster {
    cell: CellId,
    project: ProjectName,
    owner: Identity,
    members: Vec<Other>,
    expires_at: Option<DateTime<Utc>>,
    asked: Instant,
}

impl Roster {
    /// What a record says.
    pub fn of(record: &Record, now: Instant) -> Self {
        let proposal = &record.proposal;
        let members = proposal.members.iter().map(|member| Other { identity: member.identity.clone(), role: member.role });
        Self {
            cell: proposal.cell_id.clone(),
            project: proposal.project.clone(),
            owner: proposal.owner.clone(),
            members: members.collect(),
            expires_at: match proposal.on_expire {
                OnExpire::Close | OnExpire::Destroy => Some(record.expires_at),
                OnExpire::Keep => None,
            },
            asked: now,
        }
    }

    /// Whether it is too old to be believed at all.
    pub fn is_stale(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.asked) >= BELIEVED
    }

    /// Whether it is old enough to ask again for somebody who is not on it.
    pub fn may_be_behind(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.asked) >= ASKED_AGAIN
    }

    /// Everyone, in the order in which they came.
    pub fn members(&self) -> &[Other] {
        &self.members
    }

    /// What `members` gives: the cell's owner as a director, where it is no member anyway, so that an agent finds whom to report to; then the
    /// members in the order in which they came.
    pub fn everyone(&self) -> Vec<Other> {
        let is_member = self.members.iter().any(|member| member.identity == self.owner);
        let owner = (!is_member).then(|| Other { identity: self.owner.clone(), role: Role::Director });
        owner.into_iter().chain(self.members.iter().cloned()).collect()
    }

    /// As what somebody can be written to: a member's role; the cell's owner counts as a director.
    pub fn role_of(&self, identity: &Identity) -> Option<Role> {
        let member = self.members.iter().find(|member| member.identity == *identity);
        member.map(|member| member.role).or_else(|| (*identity == self.owner).then_some(Role::Director))
    }

    /// What `me` gives.
    pub fn facts(&self, identity: &Identity, role: Role, now: DateTime<Utc>) -> Facts {
        let left = |at: DateTime<Utc>| u64::try_from((at - now).num_seconds()).unwrap_or(0);
        Facts {
            cell: self.cell.clone(),
            project: self.project.clone(),
            identity: identity.clone(),
            role,
            ttl_left: self.expires_at.map(left),
        }
    }
}

//! What each limit of a policy is set to, by its name: the one list of all of them.

use std::{fmt, num::NonZeroU32, time::Duration};

use super::{ByteSize, LimitName, Limits, format_duration};
use crate::cell::BackendKind;

/// What a limit is set to. The more it is, the more an agent may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setting {
    /// So many bytes.
    Size(ByteSize),
    /// So many of something.
    Count(NonZeroU32),
    /// So much time.
    Time(Duration),
}

impl Setting {
    /// The setting as one number, to be compared with another of the same limit: bytes, pieces, nanoseconds.
    pub fn weight(self) -> u128 {
        match self {
            Self::Size(size) => size.bytes().into(),
            Self::Count(count) => count.get().into(),
            Self::Time(time) => time.as_nanos(),
        }
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Size(size) => size.fmt(f),
            Self::Count(count) => count.fmt(f),
            Self::Time(time) => f.pad(&format_duration(*time)),
        }
    }
}

impl Limits {
    /// What a limit is set to; none for those of a cell, which no policy has.
    pub const fn setting(&self, name: LimitName) -> Option<Setting> {
        Some(match name {
            LimitName::Memory => Setting::Size(self.memory),
            LimitName::TableElements => Setting::Count(self.table_elements),
            LimitName::Instances => Setting::Count(self.instances),
            LimitName::Stack => Setting::Size(self.stack),
            LimitName::Cpu => Setting::Time(self.cpu),
            LimitName::Event => Setting::Time(self.event),
            LimitName::Idle => Setting::Time(self.idle),
            LimitName::Messages => Setting::Count(self.messages),
            LimitName::Hostcall => Setting::Size(self.hostcall),
            LimitName::Random => Setting::Size(self.random),
            LimitName::OpenFiles => Setting::Count(self.open_files),
            LimitName::Processes => Setting::Count(self.processes),
            LimitName::Home => Setting::Size(self.home),
            LimitName::Files => Setting::Count(self.files),
            LimitName::Log => Setting::Size(self.log),
            LimitName::Ttl | LimitName::Timeout => return None,
        })
    }

    /// Every limit and what it is set to.
    pub fn settings(&self) -> impl Iterator<Item = (LimitName, Setting)> + '_ {
        LimitName::ALL.iter().filter_map(|name| Some((*name, self.setting(*name)?)))
    }
}

impl LimitName {
    /// Whether a limit means anything for an agent of this backend, which lives by events or does not.
    pub const fn concerns(self, backend: BackendKind, by_events: bool) -> bool {
        match self {
            Self::Memory | Self::Cpu | Self::Messages | Self::OpenFiles | Self::Home | Self::Files | Self::Log => true,
            Self::Processes => matches!(backend, BackendKind::Process),
            Self::TableElements | Self::Instances | Self::Stack | Self::Hostcall | Self::Random => matches!(backend, BackendKind::Wasm),
            Self::Event | Self::Idle => by_events,
            Self::Ttl | Self::Timeout => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The fields that a policy is stored with are the limits that are listed.
    #[test]
    fn every_field_is_listed_once() {
        let stored = serde_json::to_value(Limits::default()).expect("stored");
        let mut fields: Vec<String> = stored.as_object().expect("an object").keys().map(|name| name.replace('_', "-")).collect();
        let mut listed: Vec<String> = Limits::default().settings().map(|(name, _)| name.to_string()).collect();
        fields.sort();
        listed.sort();
        assert_eq!(fields, listed);
    }
}

//! What an agent definition says, once all of it was understood.

use std::{collections::BTreeMap, fmt, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    fields,
    reader::{DefinitionError, Places, Problem, Source, Table},
};
use crate::{
    cell::{AgentName, OnExpire},
    policy::{Limits, Mount},
};

/// Bytes of a definition: some hundred lines; it is read before anything is known about its author.
pub const DEFINITION_MOST_BYTES: u64 = 64 * 1024;

/// A SHA-256 digest.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest([u8; 32]);

impl Digest {
    /// A digest from its bytes.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub const fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Parses 64 hexadecimal digits, of either case.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.as_bytes();
        if digits.len() != 64 || !digits.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = std::str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok())?;
        }
        Some(Self(bytes))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

impl TryFrom<String> for Digest {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text).ok_or("a SHA-256 digest is 64 hexadecimal digits")
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

/// What a defined agent runs. This decides its backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DefinedProgram {
    /// A WASI program.
    Component {
        /// The file; relative to the definition's directory until the definition is installed.
        path: PathBuf,
        /// Its arguments, without the program's name.
        args: Vec<String>,
        /// What the file must be, if the author says.
        sha256: Option<Digest>,
    },
    /// A process.
    Command {
        /// The program and its arguments. Not empty.
        argv: Vec<String>,
    },
    /// The built-in keeper, on either backend.
    Keeper,
}

/// How long a defined agent's cell lives, where the operator does not say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Life {
    /// Its time to live.
    pub ttl: Option<Duration>,
    /// What happens then.
    pub on_expire: Option<OnExpire>,
    /// How often an agent that lives by events is called without one; never where it is left out.
    pub tick: Option<Duration>,
}

/// An agent definition, understood to its last key. It asks; it grants nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition {
    /// The agent's name.
    pub name: AgentName,
    /// What it runs.
    pub program: DefinedProgram,
    /// A directory from which a fresh home is seeded; relative to the definition's until that is installed.
    pub template: Option<PathBuf>,
    /// Variables asked for.
    pub env: BTreeMap<String, String>,
    /// Paths of the machine that a process agent asks to read and execute from. Absolute.
    pub read: Vec<PathBuf>,
    /// Mounts asked for; hosts are relative to the definition's directory until that is installed.
    pub mounts: Vec<Mount>,
    /// Whether a process agent asks for the client, `lazarus cell …`.
    pub client: bool,
    /// Limits: what the definition says, and the defaults of all others.
    pub limits: Limits,
    /// Its cell's life.
    pub life: Life,
    /// Where it says what.
    pub places: Places,
}

impl Definition {
    /// Parses a definition. `file` is what the operator calls it, for messages.
    ///
    /// # Errors
    /// The first thing in it that is not understood or not accepted, with its line and column.
    pub fn parse(file: &str, bytes: &[u8]) -> Result<Self, DefinitionError> {
        let refuse = |text: &str, problem| Source { file, text }.at(text.len(), problem);
        if bytes.len() as u64 > DEFINITION_MOST_BYTES {
            return Err(refuse("", Problem::TooLarge));
        }
        let text = std::str::from_utf8(bytes).map_err(|error| {
            let valid = bytes.get(..error.valid_up_to()).unwrap_or_default();
            refuse(&String::from_utf8_lossy(valid), Problem::NotText)
        })?;
        let source = Source { file, text };
        let document = source.parse()?;
        let top = Table::top(source, &document);
        top.only(&["agent", "grants", "limits", "life"])?;

        let agent = top.need("agent")?.table("[agent]")?;
        agent.only(&["name", "component", "command", "args", "sha256", "template"])?;
        let name_field = agent.need("name")?;
        let name = name_field.string()?.parse().map_err(|error: crate::cell::NameError| name_field.refuse(error))?;
        let program = fields::program(&agent)?;
        let template_field = agent.get("template");
        let template = template_field.as_ref().map(fields::path).transpose()?;

        let mut definition = Self {
            name,
            program,
            template,
            env: BTreeMap::new(),
            read: Vec::new(),
            mounts: Vec::new(),
            client: false,
            limits: Limits::default(),
            life: Life::default(),
            places: Places { file: file.to_owned(), template: template_field.map(|field| field.position()), ..Places::default() },
        };
        if let Some(grants) = top.get("grants") {
            fields::grants(&grants.table("[grants]")?, &mut definition)?;
        }
        if let Some(limits) = top.get("limits") {
            definition.limits = fields::limits(&limits, &definition.program)?;
        }
        if let Some(life) = top.get("life") {
            definition.life = fields::life(&life.table("[life]")?, &definition.program)?;
        }
        Ok(definition)
    }
}

#[cfg(test)]
#[path = "definition_tests.rs"]
mod tests;

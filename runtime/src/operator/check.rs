//! Looking into a program or a definition before it is installed: what it imports, what that needs, what the definition grants of it, and
//! whether it would start here.
//!
//! ```text
//!  FILE ─ look into it (jailed) ──────────→ imports, exports ─┐
//!  agent.toml ─ preview, as `agent add` ─┐                    ├→ Checked
//!  program ──────────────────────────────┴→ plan → rehearse ──┘   the reasons of everyone who would refuse it
//! ```

use std::path::Path;

use serde::Serialize;

use super::{Error, Kind, Operator, Wish, plan::Planned};
use crate::{
    agent::{self, AgentError, DEFINITION_MOST_BYTES, DefinedProgram, Definition, Installed},
    backend::{
        WasmForm,
        wasm::{
            self,
            imports::{self, Needs},
        },
    },
    cell::{
        AgentName, BackendKind,
        text::{one_line, with_causes},
    },
    home::ambient,
    policy::{Limits, Mount},
};

/// Bytes of a path in a sentence.
const PATH_MOST_BYTES: usize = 500;
/// Bytes of one reason.
const TROUBLE_MOST_BYTES: usize = 1000;
/// What a program is called that no definition names.
const PROGRAM_ALONE: &str = "program";
/// How a definition's file ends: everything else is a program.
const DEFINITION_ENDS: &str = "toml";

/// Imports that belong together, and what they need.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ImportGroup {
    /// The package or module: `wasi:filesystem`.
    pub package: String,
    /// The imports, by name.
    pub imports: Vec<String>,
    /// Whether this Lazarus provides it.
    pub provided: bool,
    /// What the agent needs for it, as a phrase.
    pub needs: &'static str,
    /// What the definition grants of that; of a program alone, unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub granted: Option<String>,
    #[serde(skip)]
    need: Needs,
}

/// What a definition says around its program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CheckedDefinition {
    /// The agent.
    pub agent: AgentName,
    /// Its backend.
    pub backend: BackendKind,
    /// What it asks for, one line each.
    pub asks: Vec<String>,
    /// What it asks for and nothing needs, and what is worth a second look: one line each.
    pub remarks: Vec<String>,
}

/// What is known of a program before it runs.
#[derive(Debug, Clone, Serialize)]
pub struct Checked {
    /// `agent` (lives by events), `component` (a WASI program) or `module` (a preview 1 program); of a definition also `command` or `keeper`.
    pub kind: &'static str,
    /// Its size.
    pub bytes: u64,
    /// The version of lazarus-guest that it was built with, where it says so.
    pub sdk: Option<String>,
    /// What it imports, and what that needs.
    pub imports: Vec<ImportGroup>,
    /// What it exports.
    pub exports: Vec<String>,
    /// The definition around it, where that was named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub definition: Option<CheckedDefinition>,
    /// Whether it would start here.
    pub runs: bool,
    /// Why it would not: one line each.
    pub troubles: Vec<String>,
    /// The outcome, as a sentence.
    pub message: String,
}

impl Operator {
    /// Looks into a WebAssembly program, or into a definition (a file that ends in `.toml`) and its program, and finds out whether it would start:
    /// by what `agent add` and `summon` do themselves, up to the agent's first instruction. Nothing is installed, and nothing of it runs.
    ///
    /// # Errors
    /// A file that cannot be opened, is no WebAssembly, or was built for another Lazarus; a definition that is not understood; Lazarus itself,
    /// or the machine under it, fails.
    pub fn agent_check(&mut self, path: &Path) -> Result<Checked, Error> {
        let (mut checked, what) = if path.extension().is_some_and(|end| end == DEFINITION_ENDS) {
            self.check_definition(path)?
        } else {
            self.check_program(path)?
        };
        checked.runs = checked.troubles.is_empty();
        checked.message = message(path, what, &checked.troubles);
        Ok(checked)
    }

    fn check_program(&mut self, path: &Path) -> Result<(Checked, &'static str), Error> {
        let (mut checked, form) = program(path)?;
        let wish = Wish { component: Some(path.to_owned()), ..Wish::default() };
        let planned = self.plan(&[PROGRAM_ALONE.parse()?], &wish);
        self.start(planned, &mut checked.troubles)?;
        let what = match form {
            WasmForm::Agent => "an agent that lives by events",
            WasmForm::Component => "a WASI program (component)",
            WasmForm::Module => "a WASI program (preview 1)",
        };
        Ok((checked, what))
    }

    /// A definition, its component, and what of the component's imports its grants satisfy.
    fn check_definition(&mut self, path: &Path) -> Result<(Checked, &'static str), Error> {
        let read = |source| AgentError::Read { path: path.to_owned(), source };
        let text = ambient::read_named_file(path, DEFINITION_MOST_BYTES).map_err(read)?;
        let definition = Definition::parse(&path.display().to_string(), &text).map_err(AgentError::from)?;
        let base = path.parent().unwrap_or(Path::new(""));
        let (mut checked, form) = match &definition.program {
            DefinedProgram::Component { path: component, .. } => {
                let (checked, form) = program(&base.join(component))?;
                (checked, Some(form))
            }
            DefinedProgram::Command { .. } => (without_imports("command"), None),
            DefinedProgram::Keeper => (without_imports("keeper"), None),
        };
        for group in &mut checked.imports {
            group.granted = Some(granted(&definition, group.need));
        }
        match agent::preview(&self.root, path) {
            Ok(installed) => {
                let planned = self.plan_by(without_what_is_missing(installed), &Wish::default());
                self.start(planned, &mut checked.troubles)?;
            }
            Err(refused) => {
                for error in refused {
                    checked.troubles.push(trouble(error.into())?);
                }
            }
        }
        let remarks = remarks(&definition, &checked.imports, form, base);
        let backend = if form.is_some() { BackendKind::Wasm } else { BackendKind::Process };
        checked.definition =
            Some(CheckedDefinition { agent: definition.name.clone(), backend, asks: agent::asks_of(&definition, &text), remarks });
        let what = match form {
            Some(WasmForm::Agent) => "the definition of an agent that lives by events",
            Some(WasmForm::Component | WasmForm::Module) => "the definition of a WASI program",
            None => "the definition of a process agent",
        };
        Ok((checked, what))
    }

    /// Finds out whether what was planned would start, as far as that is known before its code runs. Where it is known already that it would
    /// not, a rehearsal would only say so again.
    fn start(&self, planned: Result<Planned, Error>, troubles: &mut Vec<String>) -> Result<(), Error> {
        match planned {
            Ok(planned) if troubles.is_empty() => {
                let (agents, _) = self.rehearsed(planned)?;
                troubles.extend(agents.into_iter().filter_map(|agent| agent.refused));
            }
            Ok(_) => {}
            Err(error) => troubles.push(trouble(error)?),
        }
        Ok(())
    }
}

/// An error as a reason why something does not run here; one of Lazarus itself stays an error.
fn trouble(error: Error) -> Result<String, Error> {
    match error.kind() {
        Kind::Internal => Err(error),
        Kind::Refused | Kind::Usage | Kind::NotFound => Ok(one_line(&with_causes(&error), TROUBLE_MOST_BYTES)),
    }
}

/// A definition without the mounts that are not there yet: it can be installed like that, and a remark says so.
fn without_what_is_missing(mut installed: Installed) -> Installed {
    let definition = &mut installed.definition;
    let asked = std::mem::take(&mut definition.mounts).into_iter().zip(std::mem::take(&mut definition.places.mounts));
    (definition.mounts, definition.places.mounts) = asked.filter(|(mount, _)| ambient::is_there(&mount.host)).unzip();
    installed
}

/// What is known of a program by looking into it, in a jailed process.
fn program(path: &Path) -> Result<(Checked, WasmForm), Error> {
    let open = |source| Error::Component { path: path.to_owned(), source };
    let mut file = ambient::open_named_file(path, wasm::SOURCE_MOST_BYTES).map_err(open)?;
    let facts = wasm::inspect(&mut file).map_err(|source| Error::Check { path: path.to_owned(), source })?;
    let imports = grouped(&facts.imports, facts.form);
    let missing = imports.iter().filter(|group| !group.provided);
    let troubles = missing.map(|group| format!("it imports {}, which {}", group.package, group.needs)).collect();
    let (kind, entry) = match facts.form {
        WasmForm::Agent => ("agent", None),
        WasmForm::Component => ("component", Some("wasi:cli/run@0.2.x, nor lazarus:cell/agent")),
        WasmForm::Module => ("module", Some("_start")),
    };
    let begins = |name: &String| name == "_start" || name.starts_with("wasi:cli/run@0.2.");
    let mut checked = Checked { bytes: facts.bytes, sdk: facts.sdk, imports, exports: facts.exports, troubles, ..without_imports(kind) };
    if let Some(entry) = entry
        && !checked.exports.iter().any(begins)
    {
        checked.troubles.push(format!("it exports no {entry}: there is nothing to start"));
    }
    Ok((checked, facts.form))
}

fn message(path: &Path, what: &str, troubles: &[String]) -> String {
    let path = one_line(&path.to_string_lossy(), PATH_MOST_BYTES);
    if troubles.is_empty() {
        format!("{path} is {what}, and runs here")
    } else {
        format!("{path} does not run here: {}", troubles.join("; "))
    }
}

fn without_imports(kind: &'static str) -> Checked {
    Checked {
        kind,
        bytes: 0,
        sdk: None,
        imports: Vec::new(),
        exports: Vec::new(),
        definition: None,
        runs: true,
        troubles: Vec::new(),
        message: String::new(),
    }
}

/// What a definition grants of what an import needs.
fn granted(definition: &Definition, need: Needs) -> String {
    let text = match need {
        Needs::Nothing => "nothing is needed".to_owned(),
        Needs::Files => {
            let place = |mount: &Mount| format!(", {} ({})", mount.guest, mount.access);
            format!("its home, /shared{}", definition.mounts.iter().map(place).collect::<String>())
        }
        Needs::Variables if definition.env.is_empty() => "those that the cell sets".to_owned(),
        Needs::Variables => {
            format!("those that the cell sets, and {}", definition.env.keys().cloned().collect::<Vec<_>>().join(", "))
        }
        Needs::Role => "as its role allows: an executor where it is summoned".to_owned(),
        Needs::Network => "no network".to_owned(),
        Needs::Each => "what each of it needs".to_owned(),
        Needs::Events | Needs::Module | Needs::Component | Needs::Version | Needs::Broker | Needs::Missing => "nothing could".to_owned(),
    };
    one_line(&text, PATH_MOST_BYTES)
}

/// What a definition asks for and nothing needs.
fn remarks(definition: &Definition, imports: &[ImportGroup], form: Option<WasmForm>, base: &Path) -> Vec<String> {
    let mut remarks = Vec::new();
    let default = Limits::default();
    let limits = &definition.limits;
    let needs = |need: Needs| imports.iter().any(|group| group.need == need);
    if form.is_some() {
        if !definition.mounts.is_empty() && !needs(Needs::Files) {
            remarks.push("it asks for `mounts`, and its component imports nothing that could reach them".to_owned());
        }
        if !definition.env.is_empty() && !needs(Needs::Variables) {
            remarks.push("it asks for `env`, and its component imports nothing that could read it".to_owned());
        }
    } else {
        remarks.push(
            "it imports nothing: `lazarus why CELL NAME` says of a call of the system, or of the cell, whether it may make it".to_owned(),
        );
    }
    // Of a process agent, these are refused.
    if matches!(form, Some(WasmForm::Component | WasmForm::Module)) {
        let set =
            [("tick", definition.life.tick.is_some()), ("event", limits.event != default.event), ("idle", limits.idle != default.idle)];
        let unused = set.into_iter().filter(|(_, is_set)| *is_set);
        remarks.extend(unused.map(|(name, _)| format!("it sets `{name}`, which is for agents that live by events")));
    }
    for mount in &definition.mounts {
        let host = base.join(&mount.host);
        if !ambient::is_there(&host) {
            let host = one_line(&host.to_string_lossy(), PATH_MOST_BYTES);
            remarks.push(format!("it mounts {host}, which is not there yet"));
        }
    }
    remarks
}

/// Imports by package, in the order of their names, with what each needs.
fn grouped(imports: &[String], form: WasmForm) -> Vec<ImportGroup> {
    let mut groups: Vec<ImportGroup> = Vec::new();
    for import in imports {
        let (package, need) = (imports::package(import), imports::needs(import, form));
        match groups.iter_mut().find(|group| group.package == package && group.need == need) {
            Some(group) => group.imports.push(import.clone()),
            None => groups.push(ImportGroup {
                package: package.to_owned(),
                imports: vec![import.clone()],
                provided: need.is_provided(),
                needs: need.phrase(),
                granted: None,
                need,
            }),
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(imports: &[&str], form: WasmForm) -> Vec<(String, Needs)> {
        let imports: Vec<String> = imports.iter().map(ToString::to_string).collect();
        grouped(&imports, form).into_iter().map(|group| (group.package, group.need)).collect()
    }

    #[test]
    fn imports_are_grouped_and_say_what_they_need() {
        let imports = [
            "lazarus:cell/log@0.1.0",
            "lazarus:cell/mailbox@0.1.0",
            "wasi:cli/environment@0.2.6",
            "wasi:cli/stdout@0.2.6",
            "wasi:cli/stdout@0.3.0",
            "wasi:filesystem/types@0.2.6",
            "wasi:http/outgoing-handler@0.2.6",
            "wasi:io/poll@0.2.6",
            "wasi:io/streams@0.2.6",
            "wasi:sockets/tcp@0.2.6",
        ];
        let expected = |mailbox| {
            [
                ("lazarus:cell", Needs::Nothing),
                ("lazarus:cell", mailbox),
                ("wasi:cli", Needs::Variables),
                ("wasi:cli", Needs::Nothing),
                ("wasi:cli", Needs::Missing),
                ("wasi:filesystem", Needs::Files),
                ("wasi:http", Needs::Broker),
                ("wasi:io", Needs::Nothing),
                ("wasi:sockets", Needs::Network),
            ]
            .map(|(package, need)| (package.to_owned(), need))
        };
        assert_eq!(told(&imports, WasmForm::Agent), expected(Needs::Role));
        assert_eq!(told(&imports, WasmForm::Component), expected(Needs::Events), "a program that does not live by events");
        let module = told(&["wasi_snapshot_preview1::fd_write", "wasi_snapshot_preview1::path_open", "env::abort"], WasmForm::Module);
        let needs: Vec<Needs> = module.into_iter().map(|(_, need)| need).collect();
        assert_eq!(needs, [Needs::Nothing, Needs::Files, Needs::Missing]);
    }
}

//! The real program in a lab, with process agents or wasm agents: the same definitions but for what they run.

use std::{path::Path, time::Duration};

use lazarus::cell::{BackendKind, Role};
use serde_json::Value;

use super::world::{Answer, Behaviour, Refused, Seen, SeenAgent, Torn, Wish, World};
use crate::{Lab, Outcome, guests, lab::text};

/// A variable that every command of these cases has in its own environment.
const OPERATORS: (&str, &str) = ("OPERATORS_TOKEN", "wyuGk2hJ");

/// The real program, on one backend.
pub struct Real {
    /// Where it runs.
    pub lab: Lab,
    backend: BackendKind,
}

impl Real {
    /// A fresh lab.
    pub fn new(backend: BackendKind) -> Self {
        let lab = Lab::new();
        lab.file("data/given", "given\n");
        Self { lab, backend }
    }

    fn ask(&self, args: &[&str]) -> Answer<Value> {
        let mut with = vec!["--json"];
        with.extend(args);
        let output = self.lab.command(&with).env(OPERATORS.0, OPERATORS.1).output().expect("started");
        let outcome = Outcome {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        };
        let envelope = outcome.json();
        assert_eq!(envelope["success"], outcome.code == 0, "{outcome:?}");
        if outcome.code == 0 { Ok(envelope) } else { Err(Refused { code: outcome.code, message: outcome.message() }) }
    }

    /// The line of a definition that says what it runs.
    fn program(&self, agent: &str, behaviour: Behaviour) -> String {
        match self.backend {
            BackendKind::Process => {
                let script = serde_json::to_string(script(behaviour)).expect("a string");
                format!("command = [\"/bin/sh\", \"-c\", {script}]")
            }
            BackendKind::Wasm => {
                self.lab.file(&format!("{agent}.wat"), guest(behaviour));
                format!("component = \"{agent}.wat\"")
            }
        }
    }
}

const fn script(behaviour: Behaviour) -> &'static str {
    match behaviour {
        Behaviour::Stays => "trap 'echo told; exit 0' TERM; echo here; while :; do sleep 1 & wait $!; done",
        Behaviour::EndsWell => "echo done",
        Behaviour::EndsBadly => "exit 7",
        Behaviour::Stubborn => "trap '' TERM; echo here; while :; do sleep 1; done",
        Behaviour::WritesEscapes => r"printf '\033]0;x\007hello\n'",
        Behaviour::TellsVariables => "env",
        Behaviour::UsesMount => "cat /data/given; if (echo x > /data/planted) 2> /dev/null; then echo written; else echo refused; fi",
    }
}

fn guest(behaviour: Behaviour) -> String {
    match behaviour {
        Behaviour::Stays => guests::STAYS_UNTIL_TOLD.to_owned(),
        Behaviour::EndsWell => guests::says("done", 0),
        Behaviour::EndsBadly => guests::says("", 7),
        Behaviour::Stubborn => guests::says_and_sleeps("here"),
        Behaviour::WritesEscapes => guests::writes(r"\1b]0;x\07hello\0a", 12),
        Behaviour::TellsVariables => guests::TELLS.to_owned(),
        Behaviour::UsesMount => guests::USES_MOUNT.to_owned(),
    }
}

fn seconds(time: Duration) -> String {
    format!("{}ms", time.as_millis())
}

impl World for Real {
    fn define(&mut self, agent: &str, behaviour: Behaviour) {
        let program = self.program(agent, behaviour);
        let file = self.lab.file(&format!("{agent}.toml"), format!("[agent]\nname = \"{agent}\"\n{program}\n"));
        self.ask(&["agent", "add", "--replace", file.to_str().expect("utf-8")]).expect("added");
        // Another behaviour is another program: it takes the operator's word.
        self.ask(&["agent", "approve", agent]).expect("approved");
    }

    fn summon(&mut self, agents: &[&str], wish: &Wish) -> Answer<String> {
        let command = if agents.len() == 1 { "summon" } else { "team" };
        let team = agents.join("+");
        let ttl = wish.ttl.map(seconds);
        let mut args = vec![command, &team, "p"];
        if let Some(ttl) = &ttl {
            args.extend(["--ttl", ttl]);
        }
        if wish.keep {
            args.extend(["--on-expire", "keep"]);
        }
        if wish.mount {
            args.extend(["--mount", "data:/data"]);
        }
        let summoned = self.ask(&args)?;
        assert_eq!(text(&summoned["backend"]), self.backend.to_string(), "{summoned}");
        Ok(text(&summoned["cell_id"]))
    }

    fn invite(&mut self, cell: &str, guest: &str, role: Role) -> Answer<()> {
        let invited = self.ask(&["invite", cell, guest, role.as_str()])?;
        assert_eq!(text(&invited["message"]), format!("Invited {guest} as {role} to {cell}"));
        Ok(())
    }

    fn status(&mut self, cell: &str) -> Answer<Seen> {
        let status = self.ask(&["status", cell])?;
        let (shown, probe) = (&status["cell"], &status["probe"]);
        let list = |key: &str| shown[key].as_array().expect("a list").iter();
        let agent = |run: &Value| {
            let home = run["home"].as_str().map(str::to_owned);
            (text(&run["agent"]), SeenAgent { lives: run["process"] == "alive", home })
        };
        Ok(Seen {
            state: text(&shown["state"]),
            reason: shown["reason"].as_str().map(str::to_owned),
            expired: status["expired"].as_bool().expect("true or false"),
            members: list("members").map(|member| (text(&member["identity"]), text(&member["role"]).parse().expect("a role"))).collect(),
            process: text(&probe["process"]),
            has_pid: probe["pid"].is_u64(),
            age_seconds: probe["age_seconds"].as_f64().expect("a number"),
            agents: list("runs").map(agent).collect(),
        })
    }

    fn listed(&mut self) -> Vec<String> {
        let status = self.ask(&["status"]).expect("shown");
        status["active_cells"].as_array().expect("a list").iter().map(|cell| text(&cell["cell_id"])).collect()
    }

    fn close(&mut self, cell: &str, grace: Duration) -> Answer<()> {
        let closed = self.ask(&["close", cell, "--grace", &seconds(grace)])?;
        assert!(text(&closed["message"]).starts_with(&format!("Closed {cell} by ")), "{closed}");
        Ok(())
    }

    fn destroy(&mut self, cell: &str) -> Answer<Torn> {
        let destroyed = self.ask(&["destroy", cell])?;
        assert!(text(&destroyed["message"]).starts_with(&format!("Destroyed {cell} by ")), "{destroyed}");
        assert!(!self.lab.cell_dir(cell).exists());
        let receipt = &destroyed["receipt"];
        Ok(Torn {
            alive: receipt["processes_alive"].as_u64().expect("a count"),
            remained: receipt["remained"].as_array().expect("a list").len(),
            files: receipt["files_removed"].as_u64().expect("a count"),
        })
    }

    fn extend(&mut self, cell: &str, by: Duration) -> Answer<()> {
        self.ask(&["extend", cell, &seconds(by)]).map(drop)
    }

    fn logs(&mut self, cell: &str) -> Vec<String> {
        let logs = self.ask(&["logs", cell]).expect("read");
        logs["lines"].as_array().expect("a list").iter().map(|line| text(&line["text"])).filter(|line| !line.is_empty()).collect()
    }

    fn home_is_there(&self, home: &str) -> bool {
        Path::new(home).is_dir()
    }

    fn wait(&mut self, time: Duration) {
        std::thread::sleep(time);
    }

    fn variable_of_the_operator(&self) -> (String, String) {
        (OPERATORS.0.to_owned(), OPERATORS.1.to_owned())
    }
}

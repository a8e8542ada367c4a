//! The tables of a definition, one function each.

use std::{
    path::{Component, Path, PathBuf},
    time::Duration,
};

use super::{
    definition::{DefinedProgram, Definition, Digest, Life},
    limits::{LIMIT_NAMES, LimitError, set_limit},
    reader::{DefinitionError, Field, Problem, Table},
    resolve::{ResolveError, is_own_place, is_readable_path},
    unfit::{backend_of, unfit},
};
use crate::{
    cell::OnExpire,
    policy::{Access, GuestPath, Limits, LimitsError, Mount, is_of_a_shell, overlap, parse_duration, parse_ttl, validate_variable},
};

/// Entries of any one list or table: far more than an agent has a use for, and few enough to be read by its reviewer.
const MOST_ENTRIES: usize = 256;

fn bounded<T>(field: &Field<'_>, entries: Vec<T>) -> Result<Vec<T>, DefinitionError> {
    if entries.len() > MOST_ENTRIES {
        return Err(field.refuse(Problem::Conflict { key: field.key, why: "has more than 256 entries" }));
    }
    Ok(entries)
}

/// A path as the author wrote it: not empty, without control characters, which would be invisible to a reviewer.
pub(super) fn path(field: &Field<'_>) -> Result<PathBuf, DefinitionError> {
    let text = field.string()?;
    if text.is_empty() || text.chars().any(char::is_control) {
        return Err(field.unacceptable(text, "a path without control characters"));
    }
    if is_of_a_shell(text) {
        return Err(field.unacceptable(text, "a path in which nothing has to be expanded: '~' is not; write ./~ for what is called that"));
    }
    Ok(PathBuf::from(text))
}

/// `[agent]`, what it runs.
pub(super) fn program(agent: &Table<'_>) -> Result<DefinedProgram, DefinitionError> {
    let (component, command) = (agent.get("component"), agent.get("command"));
    for (field, why) in [(agent.get("args"), "belongs to `component`"), (agent.get("sha256"), "is the digest of a `component`")] {
        if let (Some(field), None) = (field, component) {
            return Err(field.refuse(Problem::Conflict { key: field.key, why }));
        }
    }
    match (component, command) {
        (Some(_), Some(command)) => {
            Err(command.refuse(Problem::Conflict { key: "command", why: "excludes `component`: an agent runs one program" }))
        }
        (Some(component), None) => {
            let args = agent.get("args").map(|field| bounded(&field, field.strings()?)).transpose()?.unwrap_or_default();
            let digest = |field: Field<'_>| {
                let text = field.string()?;
                Digest::parse(text).ok_or_else(|| field.unacceptable(text, "64 hexadecimal digits"))
            };
            let sha256 = agent.get("sha256").map(digest).transpose()?;
            Ok(DefinedProgram::Component { path: path(&component)?, args, sha256 })
        }
        (None, Some(command)) => {
            let argv = bounded(&command, command.strings()?)?;
            if argv.first().is_none_or(String::is_empty) {
                return Err(command.refuse(Problem::Conflict { key: "command", why: "names no program" }));
            }
            Ok(DefinedProgram::Command { argv })
        }
        (None, None) => Ok(DefinedProgram::Keeper),
    }
}

/// `[grants]`, what it asks for.
pub(super) fn grants(grants: &Table<'_>, definition: &mut Definition) -> Result<(), DefinitionError> {
    grants.only(&["env", "read", "mounts", "client", "http", "secrets"])?;
    for key in ["http", "secrets"] {
        if let Some(field) = grants.get(key) {
            return Err(field.refuse(Problem::Broker { key }));
        }
    }
    if let Some(env) = grants.get("env") {
        for (name, at, field) in bounded(&env, env.pairs()?)? {
            let value = field.string()?;
            validate_variable(name, value, false).map_err(|error| field.source.at(at, error))?;
            definition.env.insert(name.to_owned(), value.to_owned());
        }
    }
    for key in ["read", "client"] {
        grants.get(key).map_or(Ok(()), |field| must_fit(&field, &definition.program))?;
    }
    if let Some(read) = grants.get("read") {
        let listed = bounded(&read, read.list()?)?;
        if listed.is_empty() {
            let why = "names nothing: leave it out for what programs need to run at all, or name a path";
            return Err(read.refuse(Problem::Conflict { key: "read", why }));
        }
        for field in listed {
            definition.read.push(absolute(&field)?);
            definition.places.read.push(field.position());
        }
    }
    if let Some(client) = grants.get("client") {
        definition.client = client.boolean()?;
    }
    if let Some(mounts) = grants.get("mounts") {
        let wasm = matches!(definition.program, DefinedProgram::Component { .. });
        for field in bounded(&mounts, mounts.list()?)? {
            let mount = mount(&field.table("a mount")?)?;
            if is_own_place(&mount.guest, wasm) {
                return Err(field.refuse(Box::new(ResolveError::OwnPlace(mount.guest.to_string()))));
            }
            definition.mounts.push(mount);
            if let Some((_, overlap)) = overlap(&definition.mounts) {
                return Err(field.refuse(Box::new(ResolveError::Overlap(overlap))));
            }
            definition.places.mounts.push(field.position());
        }
    }
    Ok(())
}

/// A path of the machine, absolute and without `..`, so that it means what it says wherever the definition is.
fn absolute(field: &Field<'_>) -> Result<PathBuf, DefinitionError> {
    let path = path(field)?;
    if is_readable_path(&path) {
        Ok(path)
    } else {
        Err(field.unacceptable(&path.display().to_string(), "an absolute path below '/', without '..', and not /run"))
    }
}

fn mount(table: &Table<'_>) -> Result<Mount, DefinitionError> {
    table.only(&["host", "guest", "access"])?;
    let field = table.need("host")?;
    let host = path(&field)?;
    if host.components().any(|part| part == Component::ParentDir) || host == Path::new("/") {
        return Err(
            field.unacceptable(&host.display().to_string(), "a path without '..', and not the whole machine; name what the agent needs")
        );
    }
    let guest = table.need("guest")?;
    let access = match table.get("access") {
        None => Access::Ro,
        Some(field) => match field.string()? {
            "ro" => Access::Ro,
            "rw" => Access::Rw,
            other => return Err(field.unacceptable(other, "\"ro\" or \"rw\"")),
        },
    };
    let guest = GuestPath::try_from(guest.string()?.to_owned()).map_err(|error| guest.refuse(error))?;
    Ok(Mount { host, guest, access })
}

/// Refuses what agents with this program have no use for.
fn must_fit(field: &Field<'_>, program: &DefinedProgram) -> Result<(), DefinitionError> {
    match backend_of(program).and_then(|backend| unfit(field.key, backend)) {
        Some(why) => Err(field.refuse(Problem::Conflict { key: field.key, why })),
        None => Ok(()),
    }
}

/// `[limits]`.
pub(super) fn limits(field: &Field<'_>, program: &DefinedProgram) -> Result<Limits, DefinitionError> {
    let table = field.table("[limits]")?;
    table.only(&LIMIT_NAMES)?;
    let mut limits = Limits::default();
    for name in LIMIT_NAMES {
        if let Some(field) = table.get(name) {
            set_limit(&mut limits, name, &field.quantity()?).map_err(|error| field.refuse(error))?;
            must_fit(&field, program)?;
        }
    }
    limits.check().map_err(|error| {
        let (LimitsError::TooHigh { name, .. } | LimitsError::TooLow { name, .. }) = &error;
        // The defaults are in range, so the one that is not was written here.
        table.get(name).unwrap_or(*field).refuse(LimitError::from(error.clone()))
    })?;
    Ok(limits)
}

/// The shortest time between two calls of an agent without an event: each wakes it.
const TICK_LEAST: Duration = Duration::from_secs(1);

/// `[life]`.
pub(super) fn life(table: &Table<'_>, program: &DefinedProgram) -> Result<Life, DefinitionError> {
    table.only(&["ttl", "on-expire", "tick"])?;
    table.get("tick").map_or(Ok(()), |field| must_fit(&field, program))?;
    let ttl = table.get("ttl").map(|field| parse_ttl(&field.quantity()?).map_err(|error| field.refuse(error))).transpose()?;
    let on_expire = table.get("on-expire").map(|field| match field.string()? {
        "close" => Ok(OnExpire::Close),
        "destroy" => Ok(OnExpire::Destroy),
        "keep" => Ok(OnExpire::Keep),
        other => Err(field.unacceptable(other, "\"close\", \"destroy\" or \"keep\"")),
    });
    let tick = table.get("tick").map(|field| match parse_duration(&field.quantity()?) {
        Ok(tick) if tick < TICK_LEAST => Err(field.unacceptable(&field.quantity()?, "at least a second")),
        Ok(tick) => Ok(tick),
        Err(error) => Err(field.refuse(error)),
    });
    Ok(Life { ttl, on_expire: on_expire.transpose()?, tick: tick.transpose()? })
}

//! The command line: one file a subcommand. Each turns its arguments into a verb; this file has it run by whoever holds the
//! folder, and prints the reply.

mod account;
mod alias;
mod appliance;
mod backup;
mod cert;
mod check;
mod device;
mod dkim;
mod dns;
mod domain;
mod init;
mod listeners;
mod machine;
mod problems;
mod queue;
mod reach;
mod relay;
mod reports;
mod rescue;
mod serve;
mod setup;
mod token;
mod update;

use std::io::{BufRead, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use super::folder::Folder;
use super::log;
use super::verbs::{Reply, Secret};

/// A mail server for one household.
#[derive(Parser)]
#[command(name = "homepost", version, arg_required_else_help = true)]
struct Cli {
    /// The data folder; without it, what HOMEPOST_DATA says
    #[arg(long, global = true, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Print JSON, for scripts
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Serve(serve::Args),
    Init(init::Args),
    Account(account::Args),
    Alias(alias::Args),
    Device(device::Args),
    Domain(domain::Args),
    Dns(dns::Args),
    Dkim(dkim::Args),
    Cert(cert::Args),
    Queue(queue::Args),
    Relay(relay::Args),
    Reports(reports::Args),
    Rescue(rescue::Args),
    Listeners(listeners::Args),
    Problems(problems::Args),
    Token(token::Args),
    Check(check::Args),
    Backup(backup::Args),
    Box(appliance::Args),
    Machine(machine::Args),
    Setup(setup::Args),
    Update(update::Args),
}

pub(super) fn main() -> ExitCode {
    // Files are the owner's only (V2), also those that libraries make.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let cli = Cli::parse();
    let folder = match cli.data.or_else(|| std::env::var_os("HOMEPOST_DATA").map(PathBuf::from)) {
        Some(data) => Folder::new(&data),
        // The commands without a folder.
        None if matches!(cli.command, Command::Machine(_) | Command::Update(_)) => Folder::new(Path::new("")),
        None => {
            eprintln!("homepost: which data folder? Say --data DIR, or set HOMEPOST_DATA.");
            return ExitCode::from(2);
        }
    };
    let request = match cli.command {
        Command::Serve(args) => {
            log::start("info");
            return ended(args.serve(&folder));
        }
        Command::Rescue(args) => {
            log::start("info");
            return ended(args.run(&folder));
        }
        Command::Machine(args) => {
            log::start("info");
            return ended(args.run());
        }
        Command::Init(args) => args.request(),
        Command::Account(args) => args.request(),
        Command::Alias(args) => Ok(args.request()),
        Command::Device(args) => Ok(args.request()),
        Command::Domain(args) => Ok(args.request()),
        Command::Dns(args) => args.request(),
        Command::Dkim(args) => Ok(args.request()),
        Command::Cert(args) => args.request(),
        Command::Queue(args) => Ok(args.request()),
        Command::Relay(args) => args.request(),
        Command::Reports(args) => Ok(args.request()),
        Command::Listeners(args) => Ok(args.request()),
        Command::Problems(args) => Ok(args.request()),
        Command::Token(args) => Ok(args.request()),
        Command::Check(args) => Ok(args.request()),
        Command::Backup(args) => args.request(),
        Command::Box(args) => Ok(args.request()),
        Command::Setup(args) => args.request(),
        Command::Update(args) if args.request().is_some() => {
            if folder.path().as_os_str().is_empty() {
                eprintln!("homepost: which data folder? Say --data DIR, or set HOMEPOST_DATA.");
                return ExitCode::from(2);
            }
            args.request().ok_or_else(String::new)
        }
        Command::Update(args) => {
            return match args.run((!folder.path().as_os_str().is_empty()).then_some(&folder)) {
                Ok((text, json)) => print(&Reply { text, json, error: None }, cli.json),
                Err(error) => failed(&error),
            };
        }
    };
    log::start("warn");
    let reached = request.and_then(|request| {
        // New words are shown before they count: whoever does not get to see them has the old ones still.
        let shown =
            backup::show_words(&request, cli.json).map_err(|error| format!("the words cannot be shown: {error}"))?;
        let unless = |error| if shown { format!("{error}\nThe words above open nothing.") } else { error };
        let mut reply = reach::reach(&folder, &request).map_err(unless)?;
        reply.error = reply.error.map(unless);
        if reply.error.is_none() {
            account::show_link(&folder, &request, &mut reply);
            device::show_secret(&folder, &request, &mut reply);
        }
        if shown && cli.json {
            // All that there is to say was said with the words.
            reply.json = serde_json::Value::Null;
        }
        Ok(reply)
    });
    match reached {
        Ok(reply) => print(&reply, cli.json),
        Err(error) => failed(&error),
    }
}

fn print(reply: &Reply, json: bool) -> ExitCode {
    let mut out = std::io::stdout().lock();
    let printed = match (&reply.error, json) {
        (_, true) if reply.json.is_null() => Ok(()),
        (_, true) => writeln!(out, "{:#}", reply.json),
        (_, false) => out.write_all(reply.text.as_bytes()),
    };
    drop(printed.and_then(|()| out.flush())); // whoever closed the pipe wants no more
    match &reply.error {
        Some(error) => failed(error),
        None => ExitCode::SUCCESS,
    }
}

fn ended(done: Result<(), String>) -> ExitCode {
    done.map_or_else(|error| failed(&error), |()| ExitCode::SUCCESS)
}

fn failed(error: &str) -> ExitCode {
    for line in error.lines() {
        eprintln!("homepost: {line}");
    }
    ExitCode::FAILURE
}

fn password() -> Result<Secret, String> {
    secret("password")
}

/// One line of stdin: secrets are in no argument, where others could read them (V2).
fn secret(what: &str) -> Result<Secret, String> {
    const LIMIT: u64 = 4096;
    let mut line = Vec::new();
    let mut stdin = std::io::stdin().lock().take(LIMIT);
    stdin.read_until(b'\n', &mut line).map_err(|error| format!("the {what} cannot be read: {error}"))?;
    if line.last() == Some(&b'\n') {
        line.pop();
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    if line.is_empty() {
        return Err(format!("the {what} is expected as one line on standard input, and there was none"));
    }
    String::from_utf8(line).map(Secret).map_err(|_| format!("the {what} is not UTF-8 text"))
}

/// The flag that says so; there is no other way, so it has to be there.
#[derive(clap::Args)]
struct Stdin {
    /// Read the password from standard input, one line
    #[arg(long, required = true)]
    password_stdin: bool,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        super::Cli::command().debug_assert();
    }
}

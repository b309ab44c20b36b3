//! `box`: what the machine says of itself, restart, power. It works without a household, and off the box says that it
//! is off the box.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::appliance::machine::{Client, Machine, Status};

use super::{AboutBox, Done, Error, Reply};

pub(super) fn run(what: AboutBox) -> Done {
    let machine = Client::new();
    match what {
        AboutBox::Status => status(&machine),
        AboutBox::Reboot => done(machine.reboot(), "The box restarts.\n"),
        AboutBox::PowerOff => done(machine.power_off(), "The box switches itself off.\n"),
        AboutBox::Erase => done(machine.erase(), "The box restarts, and everything on it is deleted.\n"),
    }
}

fn done(asked: Result<(), crate::appliance::machine::Error>, words: &str) -> Done {
    asked.map_err(|error| Error::Words(error.to_string()))?;
    Ok(Reply::done(words, Value::Null))
}

fn status(machine: &dyn Machine) -> Done {
    let status = machine.status().map_err(|error| Error::Words(error.to_string()))?;
    Ok(Reply::done(text(&status), json!(status)))
}

fn text(status: &Status) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "{name:<9} {value}");
    };
    let slot = status.slot.as_deref().map(|slot| format!(", system {slot}")).unwrap_or_default();
    line("version", &format!("{}{slot}", status.version));
    line("address", &if status.addresses.is_empty() { "none".to_owned() } else { status.addresses.join(", ") });
    line("clock", if status.clock_trusted { "right" } else { "not checked" });
    if let Some(disk) = status.disk {
        let megabytes = |bytes: u64| bytes / 1_000_000;
        line("disk", &format!("{} MB free of {} MB", megabytes(disk.free_bytes), megabytes(disk.total_bytes)));
    }
    let ports: Vec<String> = status.open_ports.iter().map(ToString::to_string).collect();
    line("ports", &if ports.is_empty() { "none".to_owned() } else { ports.join(", ") });
    line("up", &format!("{} min", status.uptime_seconds / 60));
    for (name, value) in [("health", &status.health), ("problem", &status.problem), ("note", &status.notice)] {
        if let Some(value) = value {
            line(name, value);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::appliance::machine::Fake;

    #[test]
    fn the_state_is_told_in_words_and_for_scripts() {
        let fake = Fake::default();
        fake.set_status(Status {
            version: "1".into(),
            slot: Some("b".into()),
            open_ports: vec![25],
            ..Status::default()
        });
        let reply = status(&fake).unwrap();
        assert!(reply.text.starts_with("version   1, system b\naddress   none\nclock     not checked\nports     25\n"));
        assert_eq!(reply.json["slot"], "b");
    }
}

//! Words for the owner, made from the table: the file of a new server, and the reference.

use super::table::{SECTIONS, Section};

/// The file a new server starts with: every setting is in it, with its help; limits stand there as comments.
pub fn default_file(hostname: &str) -> String {
    let mut out = String::new();
    comment(
        &mut out,
        "The settings of this mail server. Lines that begin with # are explanations and do nothing. Change a value, save \
         the file, and reload or restart the server; if something is wrong with it, the server says which line and goes on \
         with what it had. Domains, accounts and passwords are not here: see homepost --help.",
    );
    for section in &SECTIONS {
        out.push('\n');
        if !section.path.is_empty() {
            comment(&mut out, section.about);
            if !section.shown {
                comment(&mut out, "To change one of these, take the # away from before its name.");
            }
            out.push_str(&format!("[{}]\n", section.path));
        }
        for def in section.settings {
            // Ports and switches explain themselves; their section says what they are for.
            if !(section.shown && section.path.starts_with("listeners.")) {
                comment(&mut out, def.help);
            }
            let value = match def.kind.default() {
                Some(value) => def.kind.write(&value),
                None => hostname.into(),
            };
            let off = if section.shown { "" } else { "# " };
            out.push_str(&format!("{off}{} = {value}\n", def.name()));
        }
    }
    out
}

/// Every setting with its default, its bounds and its help, as Markdown.
pub fn reference() -> String {
    let mut out = String::from("| setting | default | may be | what it does |\n|---|---|---|---|\n");
    for Section { about, settings, .. } in &SECTIONS {
        for def in *settings {
            let default = def.kind.default().map_or("none".to_owned(), |value| def.kind.write(&value).to_string());
            let about = if def.key.starts_with("listeners.") { format!("{about} ") } else { String::new() };
            let wanted = def.kind.wanted().replace('"', "");
            out.push_str(&format!(
                "| `{}` | {} | {wanted} | {about}{} |\n",
                def.key,
                default.replace('"', ""),
                def.help
            ));
        }
    }
    out
}

fn comment(out: &mut String, text: &str) {
    let mut line = String::from("#");
    for word in text.split_whitespace() {
        if line.len() + 1 + word.len() > 100 {
            out.push_str(&line);
            out.push('\n');
            line = String::from("#");
        }
        line.push(' ');
        line.push_str(word);
    }
    out.push_str(&line);
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::super::{Settings, table};
    use super::*;

    #[test]
    fn a_new_file_is_accepted_and_names_every_setting() {
        let file = default_file("mail.example.test");
        let settings = Settings::parse(&file).unwrap();
        assert_eq!(settings.hostname, "mail.example.test");
        assert_eq!(settings.listeners.all().map(|(_, listener)| listener.port), [25, 465, 587, 993, 143, 443]);
        assert_eq!(settings.listeners.all().map(|(_, listener)| listener.on), [true, true, false, true, false, true]);
        for def in table::defs() {
            assert!(file.contains(&format!("{} = ", def.name())), "{}", def.key);
            assert!(reference().contains(&format!("`{}`", def.key)), "{}", def.key);
        }
        assert!(file.lines().all(|line| line.len() <= 100));
    }

    /// Taking the # away from a limit leaves what holds already.
    #[test]
    fn the_values_in_comments_are_the_defaults() {
        let file = default_file("mail.example.test");
        let open: String = file
            .lines()
            .map(|line| match line.strip_prefix("# ") {
                Some(rest)
                    if rest.split(" = ").next().is_some_and(|name| !name.contains(' ')) && rest.contains(" = ") =>
                {
                    rest
                }
                _ => line,
            })
            .flat_map(|line| [line, "\n"])
            .collect();
        assert!(open.contains("\nmessage_size = \"50 MiB\"\n"), "{open}");
        assert_eq!(Settings::parse(&open), Settings::parse(&file));
    }
}

//! Conversations of RFC 9051, RFC 3501 and the extensions, and what must not work.

use super::play;

const LOGIN: &str = "
    S: * OK [CAPABILITY IMAP4rev1 LITERAL+ SASL-IR ID ENABLE AUTH=PLAIN AUTH=SCRAM-SHA-256] *
    C: a LOGIN alice wonderland
    S: a OK [CAPABILITY *
";

/// Three letters in INBOX, and INBOX selected.
const SELECT: &str = "
    C: a APPEND INBOX (\\Seen) {{#}+}
    M: From: Smith <smith@example.test>
    M: Subject: one
    M:
    M: First text
    C:
    S: a OK [APPENDUID 1001 1] APPEND completed
    C: a APPEND inbox \" 1-Feb-1994 21:52:25 -0800\" {{#}+}
    M: From: Jones <jones@example.test>
    M: Subject: two
    M:
    M: Second text
    C:
    S: a OK [APPENDUID 1001 2] APPEND completed
    C: a APPEND \"INBOX\" {{#}+}
    M: From: smithson@example.test
    M: Subject: three
    M:
    M: Third text
    C:
    S: a OK [APPENDUID 1001 3] APPEND completed
    C: a SELECT INBOX
    S: * FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft)
    S: * OK [PERMANENTFLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft \\*)] These are kept
    S: * 3 EXISTS
    S: * 0 RECENT
    S: * OK [UNSEEN 2] The first one not seen
    S: * OK [UIDVALIDITY 1001] UIDs are valid
    S: * OK [UIDNEXT 4] The next UID
    S: a OK [READ-WRITE] SELECT completed
";

/// A second connection to the same mailbox.
const SECOND: &str = "
    S2: * OK *
    C2: x LOGIN alice wonderland
    S2: x OK *
    C2: x SELECT INBOX
    S2: * FLAGS *
    S2: * OK *
    S2: * 3 EXISTS
    S2: * 0 RECENT
    S2: * OK [UNSEEN 2] *
    S2: * OK [UIDVALIDITY 1001] *
    S2: * OK [UIDNEXT 4] *
    S2: x OK *
";

fn selected(script: &str) {
    play(&[LOGIN, SELECT, script].concat());
}

fn two(script: &str) {
    play(&[LOGIN, SELECT, SECOND, script].concat());
}

#[test]
fn i3_no_password_is_taken_without_tls() {
    play(
        "# listener: imap
        S: * OK [CAPABILITY IMAP4rev1 LITERAL+ SASL-IR ID ENABLE STARTTLS LOGINDISABLED] *
        C: a LOGIN alice wonderland
        S: a NO [PRIVACYREQUIRED] *
        C: b AUTHENTICATE PLAIN AGFsaWNlAHdvbmRlcmxhbmQ=
        S: b NO [PRIVACYREQUIRED] *
        C: c SELECT INBOX
        S: c BAD *
        C-RAW: d STARTTLS\\r\\ne LOGIN alice wonderland\\r\\n
        S: d OK *
        TLS:
        S-SILENT:
        C: f CAPABILITY
        S: * CAPABILITY IMAP4rev1 LITERAL+ SASL-IR ID ENABLE AUTH=PLAIN AUTH=SCRAM-SHA-256
        S: f OK *
        C: g STARTTLS
        S: g BAD *
        C: h AUTHENTICATE PLAIN AGFsaWNlAHdvbmRlcmxhbmQ=
        S: h OK [CAPABILITY *",
    );
}

#[test]
fn three_failed_logins_end_the_connection() {
    play(
        "S: * OK *
        C: a LOGIN alice wrong
        S: a NO [AUTHENTICATIONFAILED] *
        C: b AUTHENTICATE PLAIN
        S: + 
        C: !
        S: b BAD *
        C: c LOGIN {3}
        S: + *
        C: bob {3}
        S: + *
        C: xyz
        S: c NO [AUTHENTICATIONFAILED] *
        S: * BYE *
        S-CLOSED:",
    );
    play(
        "WORLD: down
        S: * OK *
        C: a LOGIN alice wonderland
        S: a NO [UNAVAILABLE] *",
    );
}

#[test]
fn silence_ends_the_connection_before_login_and_long_after() {
    play("S: * OK *\nT: +1m\nS: * BYE *\nS-CLOSED:");
    play("# listener: imap\nS: * OK *\nT: +1m\nS: * BYE *\nS-CLOSED:");
    play(
        &[LOGIN, "T: +29m\nS-SILENT:\nC: b NOOP\nS: b OK *\nT: +29m\nS-SILENT:\nT: +1m\nS: * BYE *\nS-CLOSED:"]
            .concat(),
    );
    play(&[LOGIN, "C: b IDLE\nS: + idling\nT: +30m\nS: * BYE *\nS-CLOSED:"].concat());
}

#[test]
fn list_lsub_and_names() {
    play(
        &[
            LOGIN,
            "C: b LIST \"\" \"\"
            S: * LIST (\\Noselect) \"/\" \"\"
            S: b OK *
            C: c CREATE Entw&APw-rfe/2026/
            S: c OK *
            C: c CREATE inbox
            S: c NO [ALREADYEXISTS] *
            C: c CREATE a//b
            S: c NO [CANNOT] *
            C: c LIST \"\" inb%
            S: * LIST (\\HasNoChildren) \"/\" INBOX
            S: c OK *
            C: d LIST Entw&APw-rfe/ *
            S: * LIST (\\HasNoChildren) \"/\" Entw&APw-rfe/2026
            S: d OK *
            C: e LIST (SPECIAL-USE) \"\" (J* *h)
            S: * LIST (\\HasNoChildren \\Junk) \"/\" Junk
            S: * LIST (\\HasNoChildren \\Trash) \"/\" Trash
            S: e OK *
            C: f UNSUBSCRIBE Sent
            S: f OK *
            C: g LSUB \"\" %
            S: * LSUB () \"/\" Archive
            S: * LSUB () \"/\" Drafts
            S: * LSUB (\\Noselect) \"/\" Entw&APw-rfe
            S: * LSUB () \"/\" INBOX
            S: * LSUB () \"/\" Junk
            S: * LSUB () \"/\" Trash
            S: g OK *
            C: h STATUS inbox (UIDNEXT MESSAGES RECENT)
            S: * STATUS INBOX (UIDNEXT 1 MESSAGES 0 RECENT 0)
            S: h OK *
            C: i DELETE nobody
            S: i NO [NONEXISTENT] *",
        ]
        .concat(),
    );
}

#[test]
fn fetch_items() {
    selected(
        "C: b FETCH 1:2 FAST
        S: * 1 FETCH (FLAGS (\\Seen) INTERNALDATE \"17-Jul-1996 09:44:25 +0000\" RFC822.SIZE 62)
        S: * 2 FETCH (FLAGS () INTERNALDATE \" 2-Feb-1994 05:52:25 +0000\" RFC822.SIZE 63)
        S: b OK *
        C: c UID FETCH 3 (ENVELOPE BODY)
        S: * 3 FETCH (UID 3 ENVELOPE (NIL \"three\" ((NIL NIL \"smithson\" \"example.test\")) ((NIL NIL \"smithson\" \"example.test\")) ((NIL NIL \"smithson\" \"example.test\")) NIL NIL NIL NIL NIL) BODY (\"TEXT\" \"PLAIN\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7BIT\" 12 1))
        S: c OK *
        C: d FETCH 2 BODY.PEEK[HEADER.FIELDS (subject)]
        S: * 2 FETCH (BODY[HEADER.FIELDS (subject)] {16}
        S: Subject: two
        S: 
        S: )
        S: d OK *
        C: e FETCH 2 (BODY.PEEK[TEXT]<7.100> BODY.PEEK[1]<99.1> BODY.PEEK[7])
        S: * 2 FETCH (BODY[TEXT]<7> {6}
        S: text
        S:  BODY[1]<99> \"\" BODY[7] NIL)
        S: e OK *
        C: f FETCH 4 FLAGS
        S: f BAD *
        C: g UID FETCH 9:* UID
        S: * 3 FETCH (UID 3)
        S: g OK *
        C: h UID FETCH 10,20:30 UID
        S: h OK *
        C: i NOOP
        S: i OK *",
    );
}

#[test]
fn fetch_of_a_body_sets_seen_and_tells_it() {
    selected(
        "C: b FETCH 1:3 BODY[1]
        S: * 1 FETCH (BODY[1] {12}
        S: First text
        S: )
        S: * 2 FETCH (FLAGS (\\Seen) BODY[1] {13}
        S: Second text
        S: )
        S: * 3 FETCH (FLAGS (\\Seen) BODY[1] {12}
        S: Third text
        S: )
        S: b OK *
        C: c EXAMINE INBOX
        S: * OK [CLOSED] *
        S: * FLAGS *
        S: * OK [PERMANENTFLAGS ()] *
        S: * 3 EXISTS
        S: * 0 RECENT
        S: * OK [UIDVALIDITY 1001] *
        S: * OK [UIDNEXT 4] *
        S: c OK [READ-ONLY] *
        C: d STORE 1 FLAGS ()
        S: d NO [READ-ONLY] *
        C: d EXPUNGE
        S: d NO [READ-ONLY] *",
    );
    // Reading goes on when nothing can be written.
    selected("WORLD: full\nC: b FETCH 2 BODY[1]\nS: * 2 FETCH (BODY[1] {13}\nS: Second text\nS: )\nS: b OK *");
}

#[test]
fn store_expunge_close() {
    selected(
        "C: b STORE 1:2 +FLAGS (\\Deleted $Forwarded)
        S: * FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft $Forwarded)
        S: * OK [PERMANENTFLAGS *
        S: * 1 FETCH (FLAGS (\\Deleted \\Seen $Forwarded))
        S: * 2 FETCH (FLAGS (\\Deleted $Forwarded))
        S: b OK *
        C: c UID STORE 3 FLAGS.SILENT \\Deleted
        S: c OK *
        C: d UID EXPUNGE 2
        S: * 2 EXPUNGE
        S: d OK *
        C: e EXPUNGE
        S: * 1 EXPUNGE
        S: * 1 EXPUNGE
        S: e OK *
        C: f STORE 1 FLAGS ()
        S: f BAD *
        C: g UID STORE 1 FLAGS ()
        S: g OK *
        C: h CLOSE
        S: h OK *
        C: i CHECK
        S: i BAD *",
    );
}

#[test]
fn copy_and_move() {
    selected(
        "C: b COPY 2:3 Trash
        S: b OK [COPYUID 1006 2:3 1:2] COPY completed
        C: c UID COPY 99 Trash
        S: c OK COPY completed
        C: d COPY 1 Nowhere
        S: d NO [TRYCREATE] *
        C: e MOVE 1,3 Archive
        S: * OK [COPYUID 1002 1,3 1:2] Moved
        S: * 1 EXPUNGE
        S: * 2 EXPUNGE
        S: e OK *
        C: f FETCH 1 UID
        S: * 1 FETCH (UID 2)
        S: f OK *
        C: g COPY 1 INBOX
        S: * 2 EXISTS
        S: g OK *",
    );
}

#[test]
fn search_and_esearch() {
    selected(
        "C: b SEARCH UNSEEN FROM smith
        S: * SEARCH 3
        S: b OK *
        C: c UID SEARCH OR SUBJECT one (2:* NOT FROM Jones)
        S: * SEARCH 1 3
        S: c OK *
        C: d SEARCH RETURN (MIN MAX COUNT ALL) ALL
        S: * ESEARCH (TAG \"d\") MIN 1 MAX 3 ALL 1:3 COUNT 3
        S: d OK *
        C: e UID SEARCH RETURN (MIN COUNT) KEYWORD none
        S: * ESEARCH (TAG \"e\") UID COUNT 0
        S: e OK *
        C: f SEARCH CHARSET KOI8-R ALL
        S: f NO [BADCHARSET (US-ASCII UTF-8)] *
        C: g SEARCH 4
        S: g BAD *
        C: h SEARCH NEW
        S: * SEARCH
        S: h OK *",
    );
}

#[test]
fn i1_expunges_of_others_wait_for_a_command_that_may_tell_them() {
    two("C2: b STORE 1 +FLAGS (\\Deleted)
        S2: * 1 FETCH (FLAGS (\\Deleted \\Seen))
        S2: b OK *
        C2: c EXPUNGE
        S2: * 1 EXPUNGE
        S2: c OK *
        C: d FETCH 2 UID
        S: * 2 FETCH (UID 2)
        S: d OK *
        C: e FETCH 1:2 UID
        S: * 2 FETCH (UID 2)
        S: e NO [EXPUNGEISSUED] *
        C: f STORE 2 +FLAGS.SILENT (\\Flagged)
        S: f OK *
        C: g SEARCH ALL
        S: * SEARCH 2 3
        S: g OK *
        C: h NOOP
        S: * 1 EXPUNGE
        S: h OK *
        C: i FETCH 1 UID
        S: * 1 FETCH (UID 2)
        S: i OK *");
}

#[test]
fn what_others_did_is_told_once_and_own_changes_are_not_told_back() {
    two("C2: b APPEND INBOX {1+}
        C2: x
        S2: * 4 EXISTS
        S2: b OK *
        C2: c UID STORE 1:3 +FLAGS ($Junk)
        S2: * FLAGS *
        S2: * OK *
        S2: * 1 FETCH (UID 1 FLAGS (\\Seen $Junk))
        S2: * 2 FETCH (UID 2 FLAGS ($Junk))
        S2: * 3 FETCH (UID 3 FLAGS ($Junk))
        S2: c OK *
        C: d UID STORE 2 +FLAGS.SILENT \\Answered
        S: * FLAGS *
        S: * OK *
        S: * 1 FETCH (FLAGS (\\Seen $Junk))
        S: * 2 FETCH (FLAGS ($Junk))
        S: * 3 FETCH (FLAGS ($Junk))
        S: * 4 EXISTS
        S: d OK *
        C: e NOOP
        S: e OK *
        C2: f NOOP
        S2: * 2 FETCH (FLAGS (\\Answered $Junk))
        S2: f OK *");
}

#[test]
fn idle_tells_at_once() {
    two("C: b IDLE
        S: + idling
        C2: c APPEND INBOX {1+}
        C2: x
        S2: * 4 EXISTS
        S2: c OK *
        S: * 4 EXISTS
        C2: d STORE 1 FLAGS.SILENT (\\Deleted)
        S2: d OK *
        S: * 1 FETCH (FLAGS (\\Deleted))
        C2: e EXPUNGE
        S2: * 1 EXPUNGE
        S2: e OK *
        S: * 1 EXPUNGE
        S-SILENT:
        C: done
        S: b OK *
        C: f IDLE
        S: + idling
        C: NOOP
        S: f BAD *");
}

#[test]
fn a_mailbox_deleted_under_a_session() {
    play(
        &[
            LOGIN,
            "C: b SELECT Junk
            S: * FLAGS *
            S: * OK *
            S: * 0 EXISTS
            S: * 0 RECENT
            S: * OK *
            S: * OK *
            S: b OK *
            S2: * OK *
            C2: x LOGIN alice wonderland
            S2: x OK *
            C2: y SELECT Junk
            S2: * FLAGS *
            S2: * OK *
            S2: * 0 EXISTS
            S2: * 0 RECENT
            S2: * OK *
            S2: * OK *
            S2: y OK *
            C2: z DELETE Junk
            S2: * OK [CLOSED] *
            S2: z OK *
            C: c NOOP
            S: * BYE *
            S-CLOSED:",
        ]
        .concat(),
    );
}

#[test]
fn append_is_refused_before_its_message_comes() {
    play(
        &[
            LOGIN,
            "C: b APPEND Nowhere {10}
            S: b NO [TRYCREATE] *
            C: c APPEND Nowhere {10+}
            C: 01234567
            C:
            S: c NO [TRYCREATE] *
            C: d APPEND INBOX {200000}
            S: d NO [OVERQUOTA] *
            C: e APPEND INBOX {99999999}
            S: e NO [TOOBIG] *
            C: f APPEND INBOX {0}
            S: f NO *
            C: g APPEND INBOX {3}
            S: + *
            C-RAW: a\\0b\\r\\n
            S: g NO [CANNOT] *
            C: h APPEND INBOX {3}
            S: + *
            C: abc {3}
            S: h BAD *
            C: i APPEND INBOX (\\Seen {3+}
            C: abc
            S: i BAD *
            C: j STATUS INBOX (MESSAGES)
            S: * STATUS INBOX (MESSAGES 0)
            S: j OK *
            WORLD: full
            C: k APPEND INBOX {3+}
            C: abc
            S: k NO [UNAVAILABLE] *
            C: l APPEND INBOX {99999999999+}
            S: l NO [TOOBIG] *
            S: * BYE *
            S-CLOSED:",
        ]
        .concat(),
    );
}

#[test]
fn pipelined_commands_are_answered_in_order() {
    play(
        &[
            LOGIN,
            "C-RAW: b NOOP\\r\\nc APPEND INBOX {3+}\\r\\nabc\\r\\nd STATUS INBOX (MESSAGES)\\r\\ne LOGOUT\\r\\nf NOOP\\r\\n
            S: b OK *
            S: c OK [APPENDUID 1001 1] *
            S: * STATUS INBOX (MESSAGES 1)
            S: d OK *
            S: * BYE *
            S: e OK *
            S-CLOSED:",
        ]
        .concat(),
    );
}

#[test]
fn what_cannot_be_read_is_bad_and_too_much_of_it_ends_the_connection() {
    let mut script = format!("{LOGIN}\nC: b FOO\nS: b BAD *\nC: \"\nS: * BAD *\nC: c NOOP\nS: c OK *\n");
    script += &format!("C: d NOOP {}\nS: d BAD [LIMIT] *\n", "x".repeat(70_000));
    script += &format!("C: e LOGIN {{70000+}}\nC: {} {{2}}\nS: e BAD [TOOBIG] *\n", "x".repeat(70_000));
    for _ in 0..18 {
        script += "C: x FOO BAR\nS: x BAD *\n";
    }
    script += "C: x FOO BAR\nS: x BAD *\nS: * BYE *\nS-CLOSED:";
    play(&script);
}

#[test]
fn other_small_commands() {
    play(
        &[
            LOGIN,
            "C: b NAMESPACE
            S: * NAMESPACE ((\"\" \"/\")) NIL NIL
            S: b OK *
            C: c ENABLE CONDSTORE UTF8=ACCEPT
            S: * ENABLED
            S: c OK *
            C: d ID (\"name\" \"x\")
            S: * ID (\"name\" \"homepost\")
            S: d OK *
            C: e LOGIN a b
            S: e BAD *
            C: f UNSELECT
            S: f BAD *
            C: g SELECT Nowhere
            S: g NO [NONEXISTENT] *
            C: h RENAME Junk Spam
            S: h OK *
            CLOSE:
            S-CLOSED:",
        ]
        .concat(),
    );
}

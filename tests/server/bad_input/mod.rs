//! What the tests of refused input share, and what the commands of every service refuse.
//! [`Refusals`] describes them.

use crate::harness::*;

/// Runs a command that must be refused with this first word and a text that contains `part`. It
/// must change nothing.
#[track_caller]
pub fn refused_as<A: AsRef<[u8]>>(server: &Server, args: &[A], code: &str, part: &str) {
    let cut = |arg: &A| arg.as_ref()[..arg.as_ref().len().min(60)].to_vec();
    let line = || show_stream(&[args.iter().map(cut).collect()]);
    let before = server.debug_digest();
    let reply = server.cmd(args);
    assert!(reply.is_error(), "{:?} was accepted: {reply:?}", line());
    assert_eq!(reply.error_code(), code, "{:?}: {reply:?}", line());
    assert!(reply.error().contains(part), "{:?}: no {part:?} in {reply:?}", line());
    assert!(!reply.error().contains("internal error"), "{:?}: {reply:?}", line());
    assert_eq!(server.debug_digest(), before, "{:?} changed something", line());
}

/// The same with `ERR`.
#[track_caller]
pub fn refused<A: AsRef<[u8]>>(server: &Server, args: &[A], part: &str) {
    refused_as(server, args, "ERR", part);
}

/// The same for a command written as a line.
#[track_caller]
pub fn refused_line(server: &Server, line: &str, part: &str) {
    refused_line_as(server, line, "ERR", part);
}

/// The same with this first word.
#[track_caller]
pub fn refused_line_as(server: &Server, line: &str, code: &str, part: &str) {
    refused_as(server, &line.split(' ').collect::<Vec<_>>(), code, part);
}

/// None of `options`, which are separated by `|`, may be given twice or be cut off behind
/// `command`.
#[track_caller]
pub fn doubled_and_cut_off(server: &Server, command: &str, options: &str) {
    let service = command.rsplit_once('.').map_or(command, |(service, _)| service);
    for option in options.split('|') {
        let words: Vec<&str> = option.split(' ').collect();
        let twice = format!("option {} is given twice", words[0]);
        refused_line(server, &format!("{command} {option} {}", option.to_lowercase()), &twice);
        for count in 1..words.len() {
            let cut = words[..count].join(" ");
            refused_line(server, &format!("{command} {cut}"), &format!("syntax: {service}."));
        }
    }
}

/// Anything that is not a whole number from `least` to `most` is refused in place of the `#` in
/// `line`. The error names the argument and that range.
#[track_caller]
pub fn out_of_range(server: &Server, line: &str, name: &str, least: u64, most: u64) {
    let above = (most + 1).to_string();
    let mut wrong = vec!["-1", "+1", "01", "1.5", "1e3", "abc", "", "1\0", "18446744073709551616", "0x10", &above];
    if least > 0 {
        wrong.push("0");
    }
    for number in wrong {
        let words: Vec<&str> = line.split(' ').map(|word| if word == "#" { number } else { word }).collect();
        let given = number.replace('\0', "\\x00");
        let named = if name.is_empty() { String::new() } else { format!("{name} is '{given}', ") };
        refused(server, &words, &format!("{named}allowed are whole numbers from {least} to {most}"));
    }
}

/// All of these are refused, with bytes that would break the protocol in place of `#`. Each error
/// is one line, and nothing changes.
#[track_caller]
pub fn refused_in_one_line(server: &Server, lines: &[String]) {
    let nasty = b"\r\n-ERR fake\r\n+OK\r\n\0%s%n\xff".as_slice();
    let fill = |word: &str| match word.split_once('#') {
        Some((before, _)) => [before.as_bytes(), nasty].concat(),
        None => word.as_bytes().to_vec(),
    };
    let (mut client, before) = (server.client(), server.debug_digest());
    for line in lines {
        let reply = client.cmd(&line.split_whitespace().map(fill).collect::<Vec<_>>());
        assert!(reply.is_error(), "{line}: {reply:?}");
        assert_eq!(client.run("ECHO next").text(), "next", "the protocol is in step after {line}");
    }
    assert_eq!(server.debug_digest(), before);
}

/// Sixty times a hundred commands of `least`, each followed by up to `most` of `words`. All get a
/// valid answer, many an error and many not, and the server is in order afterwards. `tidy` runs
/// after each hundred.
pub fn random_words(
    server: &Server,
    least: &[String],
    words: &str,
    most: usize,
    codes: &[&str],
    tidy: impl Fn(&mut Client),
) {
    let words: Vec<&str> = words.split_whitespace().collect();
    let mut seed: u64 = 0x5eed_1234_5678_9abc;
    // It looks random and is the same in every run.
    let mut draw = |below: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed % below as u64) as usize
    };
    let (mut client, mut accepted, mut errors) = (server.client(), 0, 0);
    for _ in 0..60 {
        let mut line = || {
            let mut line = least[draw(least.len())].clone();
            for _ in 0..draw(most + 1) {
                line = format!("{line} {}", words[draw(words.len())]);
            }
            line
        };
        let lines: Vec<String> = (0..100).map(|_| line()).collect();
        for (line, reply) in lines.iter().zip(client.pipeline(&lines)) {
            let is_known = !reply.is_error() || codes.contains(&reply.error_code());
            assert!(is_known, "{line}: {reply:?}");
            assert!(!reply.is_error() || !reply.error().contains("internal error"), "{line}: {reply:?}");
            *(if reply.is_error() { &mut errors } else { &mut accepted }) += 1;
        }
        tidy(&mut client);
    }
    assert!(accepted > 300 && errors > 300, "{accepted} accepted, {errors} refused");
    assert_eq!(server.info_int("ltmc", "ltmc_panics"), 0);
    let before = server.debug_digest();
    server.debug_reload();
    assert_eq!(server.debug_digest(), before);
}

/// The answer to a word too many where the server itself counts.
pub const FIXED: Option<&str> = Some("wrong number of arguments");
/// Where the module shows the syntax.
pub const SYNTAX: Option<&str> = Some("syntax: LTMC.");
/// Where any number of words may follow.
pub const OPEN: Option<&str> = None;

/// The commands of a service and what they take. `all_refusals!` makes a test of each kind of bad
/// input.
pub struct Refusals {
    /// A server with values that must not change.
    pub with_data: fn() -> Server,
    /// How the names of its commands begin.
    pub names: &'static [&'static str],
    /// A key of its type.
    pub key: &'static str,
    pub others: &'static [&'static str],
    /// Each command with no more than it needs, `@` for its key, and the answer to one word more.
    pub least: &'static [(&'static str, Option<&'static str>)],
    /// Options that may follow a command once, separated by `|`.
    pub options: &'static [(&'static str, &'static str)],
    /// Commands with `#` for a number; the name, the least and the greatest value of it.
    pub numbers: &'static [(&'static str, &'static str, u64, u64)],
    /// Commands with `#` for a text; its name, and how many bytes it may have.
    pub texts: &'static [(&'static str, &'static str, usize, usize)],
}

impl Refusals {
    /// A command as it is sent.
    fn filled(&self, line: &str, at: &str, value: &str) -> Vec<String> {
        let fill = |word: &str| match word {
            _ if word == at => value.to_string(),
            "@" => self.key.to_string(),
            word => word.to_string(),
        };
        line.split(' ').map(fill).collect()
    }

    /// All commands as they are sent.
    pub fn lines(&self) -> Vec<String> {
        self.all().map(|(words, _)| words.join(" ")).collect()
    }

    fn all(&self) -> impl Iterator<Item = (Vec<String>, Option<&'static str>)> + '_ {
        self.least.iter().map(|(line, surplus)| (self.filled(line, "", ""), *surplus))
    }
}

pub fn every_command_has_its_row(of: &Refusals) {
    let server = Server::start();
    let known = server.run("COMMAND LIST FILTERBY MODULE ltmc").texts();
    for name in known.iter().map(|name| name.to_uppercase()) {
        let is_one = of.names.iter().any(|start| name == *start || name.starts_with(&format!("{start}.")));
        let is_listed = of.least.iter().any(|(line, _)| line.split(' ').next() == Some(&name));
        assert_eq!(is_one, is_listed, "{name}");
    }
}

pub fn too_few_arguments_are_refused_by_every_command(of: &Refusals) {
    let server = (of.with_data)();
    for (words, _) in of.all() {
        for count in 1..words.len() {
            refused(&server, &words[..count], "wrong number of arguments");
        }
    }
}

pub fn too_many_arguments_are_refused_by_every_command(of: &Refusals) {
    let server = (of.with_data)();
    for (words, surplus) in of.all() {
        let Some(part) = surplus else { continue };
        for more in ["surplus", "", "PX\0", "\u{e9}"] {
            refused(&server, &[&words[..], &[more.to_string()]].concat(), part);
        }
    }
}

pub fn keys_of_other_types_are_refused_by_every_command(of: &Refusals) {
    let server = (of.with_data)();
    for (line, _) in of.least.iter().filter(|(line, _)| line.contains(" @")) {
        for other in of.others {
            refused_as(&server, &of.filled(line, "@", other), "WRONGTYPE", "wrong kind of value");
        }
    }
}

pub fn options_that_are_double_or_cut_off_are_refused(of: &Refusals) {
    let server = (of.with_data)();
    of.options.iter().for_each(|(command, options)| doubled_and_cut_off(&server, command, options));
}

pub fn numbers_out_of_their_range_are_refused_with_that_range(of: &Refusals) {
    let server = (of.with_data)();
    of.numbers.iter().for_each(|(line, name, least, most)| out_of_range(&server, line, name, *least, *most));
}

pub fn names_and_texts_have_their_lengths(of: &Refusals) {
    let server = (of.with_data)();
    for (line, name, least, most) in of.texts {
        let part = match least {
            0 => format!("{name} is {} bytes long, at most {most} are allowed", most + 1),
            _ => format!("{name} is {} bytes long, allowed are {least} to {most}", most + 1),
        };
        refused(&server, &of.filled(line, "#", &"x".repeat(most + 1)), &part);
        if *least > 0 {
            refused(&server, &of.filled(line, "#", ""), &format!("{name} is 0 bytes long"));
        }
    }
}

/// Puts each of `values` in the place of each argument of each command. After all of them, the
/// client is still in step.
fn anywhere(of: &Refusals, values: &[Vec<u8>]) {
    let server = (of.with_data)();
    let mut client = server.client();
    for (words, _) in of.all() {
        for at in 1..words.len() {
            for value in values {
                let mut args: Vec<Vec<u8>> = words.iter().map(|word| word.as_bytes().to_vec()).collect();
                args[at] = value.clone();
                let reply = client.cmd(&args);
                let is_clean = !reply.is_error() || !reply.error().contains("internal error");
                assert!(is_clean, "{words:?} {at}: {reply:?}");
                assert_eq!(client.run("ECHO next").text(), "next", "the protocol is in step after {words:?} {at}");
            }
        }
    }
    assert_eq!(server.info_int("ltmc", "ltmc_panics"), 0);
}

pub fn an_error_is_one_line_whatever_bytes_stand_where(of: &Refusals) {
    let nasty = b"\r\n-ERR fake\r\n+OK\r\n\0%s%n\xff".to_vec();
    anywhere(of, &[nasty, Vec::new(), vec![b'x'; 1 << 20], b"\0".to_vec(), vec![0xff; 300]]);
}

pub fn words_of_options_and_wrong_numbers_break_nothing_wherever_they_stand(of: &Refusals) {
    let words = ["PX", "block", "REQID", "-1", "0", "9223372036854775807", "18446744073709551616", "{}", "*", "$", "k"];
    anywhere(of, &words.map(|word| word.as_bytes().to_vec()));
}

/// A test of each kind of bad input for the commands of a service.
macro_rules! all_refusals {
    ($of:expr) => {
        $crate::bad_input::refusals_of!($of;
            every_command_has_its_row
            too_few_arguments_are_refused_by_every_command
            too_many_arguments_are_refused_by_every_command
            keys_of_other_types_are_refused_by_every_command
            options_that_are_double_or_cut_off_are_refused
            numbers_out_of_their_range_are_refused_with_that_range
            names_and_texts_have_their_lengths
            an_error_is_one_line_whatever_bytes_stand_where
            words_of_options_and_wrong_numbers_break_nothing_wherever_they_stand
        );
    };
}

macro_rules! refusals_of {
    ($of:expr; $($case:ident)*) => {
        $(
            #[test]
            fn $case() {
                $crate::bad_input::$case(&$of);
            }
        )*
    };
}

pub(crate) use {all_refusals, refusals_of};

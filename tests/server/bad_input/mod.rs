//! What the tests of refused input share.

use crate::harness::*;

/// Runs a command that must be refused with this first word and a text that contains `part`, and must change nothing.
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

/// None of `options`, which are separated by `|`, may be given twice or be cut off behind `command`.
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

/// Whatever is no whole number from `least` to `most` is refused where `line` has a `#`; the error names the argument and that range.
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
        refused(server, &words, &format!("{name} is '{given}', allowed are whole numbers from {least} to {most}"));
    }
}

/// A command with fewer words than `line` has the wrong number of arguments, and one with a word more is refused with a text that contains
/// `part`.
#[track_caller]
pub fn wrong_counts(server: &Server, line: &str, part: &str) {
    let words: Vec<&str> = line.split(' ').collect();
    for count in 1..words.len() {
        refused(server, &words[..count], "wrong number of arguments");
    }
    for surplus in ["surplus", "", "PX\0", "\u{e9}"] {
        refused(server, &[&words[..], &[surplus]].concat(), part);
    }
}

/// Sixty times a hundred commands of `least`, each with up to `most` of `words` behind it: all are answered as they may be, many with an error
/// and many without, and the server is in order afterwards. `tidy` runs after each hundred.
pub fn random_words(
    server: &Server,
    least: &[&str],
    words: &str,
    most: usize,
    codes: &[&str],
    tidy: impl Fn(&mut Client),
) {
    let words: Vec<&str> = words.split_whitespace().collect();
    let mut seed: u64 = 0x5eed_1234_5678_9abc;
    // Looks random and is the same in every run.
    let mut draw = |below: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed % below as u64) as usize
    };
    let (mut client, mut accepted, mut errors) = (server.client(), 0, 0);
    for _ in 0..60 {
        let mut line = || {
            let mut line = least[draw(least.len())].to_string();
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

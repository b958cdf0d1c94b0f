//! The audit trail: `scripts/audit-verify`, which shares no code with what writes it, finds it
//! whole, and finds what somebody did to it.

use ltmc::observe::audit::trail::Trail;
use ltmc::observe::audit::{link, write_linked, Caller, Class, Ended, Record, Subject};
use std::path::{Path, PathBuf};
use std::process::Command;

const RECORDS: u64 = 6;
const WHOLE: i32 = 0;
const TAMPERED: i32 = 1;
const UNREADABLE: i32 = 2;

fn push(trail: &mut Trail, n: u64) {
    let caller = Caller { user: Some(b"ada"[..].into()), client: Some(3), addr: Some("127.0.0.1:5".into()) };
    trail.push(&Record {
        n,
        at: 1_700_000_000_000,
        caller: &caller,
        command: "LTMC.LOCK",
        class: Class::Write,
        db: 0,
        // A key may hold what looks like a link, and is no UTF-8.
        key: Some(b"k\xff\xc3\xbc,\"chain\":\"0\"}"),
        subject: Subject { agent: Some(b"ada:1"), ..Subject::default() },
        before: None,
        after: Some(n),
        ended: &Ended::Counted("integer", 9),
        us: 12,
        cause: None,
    });
}

fn take_unwritten(trail: &mut Trail) -> String {
    String::from_utf8(trail.take_unwritten()).expect("lines are UTF-8")
}

/// A line whose link was made anew.
fn linked(unlinked: &str, before: &str) -> String {
    let (mut chain, mut line) = (String::new(), Vec::new());
    link(&[before, unlinked].concat().into_bytes(), &mut chain);
    write_linked(unlinked.as_bytes(), &chain, &mut line);
    String::from_utf8(line).expect("lines are UTF-8")
}

/// The lines of a trail, each with its end.
fn lines() -> Vec<String> {
    let mut trail = Trail::new("run".into(), 1);
    trail.has_file(true, None);
    (1..=RECORDS).for_each(|n| push(&mut trail, n));
    take_unwritten(&mut trail).split_inclusive('\n').map(str::to_string).collect()
}

/// The chain of a line.
fn chain(line: &str) -> &str {
    &line[line.len() - 67..line.len() - 3]
}

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("ltmc-audit-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).expect("the folder can be made");
        Folder(path)
    }

    /// What the script says of files with these contents, and its exit status.
    fn verify(&self, files: &[&[String]]) -> (i32, String) {
        let names: Vec<String> = (1..=files.len()).map(|at| format!("{at}.log")).collect();
        for (name, lines) in names.iter().zip(files) {
            std::fs::write(self.0.join(name), lines.concat()).expect("the file can be written");
        }
        self.run(&names.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn run(&self, names: &[&str]) -> (i32, String) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/audit-verify");
        let output = Command::new(&script).args(names).current_dir(&self.0).output();
        let output = output.unwrap_or_else(|e| panic!("cannot run {}: {e}; it needs python3", script.display()));
        let said = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text)).concat();
        (output.status.code().expect("it ends by itself"), said)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Expects the status, and that exactly these are said before the summary.
#[track_caller]
fn expect((status, said): (i32, String), expected: i32, findings: &[&str]) {
    let lines: Vec<&str> = said.lines().take_while(|line| !line.contains(" records")).collect();
    assert_eq!((status, lines.len()), (expected, findings.len()), "{said}");
    for (line, finding) in lines.iter().zip(findings) {
        assert!(line.starts_with(finding), "expected {finding:?} in:\n{said}");
    }
}

#[test]
fn a_trail_is_whole_in_one_file_or_in_many() {
    let (folder, lines) = (Folder::new("whole"), lines());
    let (status, said) = folder.verify(&[&lines]);
    let summary =
        format!("6 records, n 1 to 6\nlast chain: {}\nnothing is missing or changed up to here\n", chain(&lines[5]));
    assert_eq!((status, said), (WHOLE, summary.clone()));
    assert_eq!(folder.verify(&[&lines[..3], &[], &lines[3..]]), (WHOLE, summary));
    let begun_later = "note: 1.log:1: the files begin with n 4; ";
    expect(folder.verify(&[&lines[3..]]), WHOLE, &[begun_later]);
    expect(folder.verify(&[&lines[..2], &lines[4..]]), TAMPERED, &["2.log:1: n 3 to 4 missing before n 5: taken away"]);
    expect(folder.verify(&[&lines[3..], &lines[..3]]), TAMPERED, &[begun_later, "2.log:1: n 1 stands behind n 6"]);
    assert_eq!(folder.verify(&[&[]]).1, "no records\nnothing is missing or changed up to here\n");
}

#[test]
fn a_changed_line_is_found() {
    let (folder, whole) = (Folder::new("changed"), lines());
    let forged = whole[2].replace("ada:1", "eve:1");
    let mut lines = whole.clone();
    lines[2] = forged.clone();
    expect(folder.verify(&[&lines]), TAMPERED, &["1.log:3: n 3 does not continue the chain"]);
    // With a chain that fits: then the next one does not.
    let unlinked = forged[..forged.len() - 77].to_string() + "}";
    lines[2] = linked(&unlinked, chain(&whole[1]));
    expect(folder.verify(&[&lines]), TAMPERED, &["1.log:4: n 4 does not continue the chain"]);
    let mut lines = whole.clone();
    lines[0] = whole[0].replace("ada:1", "eve:1");
    expect(folder.verify(&[&lines]), TAMPERED, &["1.log:1: n 1 does not continue the chain"]);
    for other in
        ["{}\n", "7\n", "{\"n\":3}\n", &whole[2].replace("\"n\":3", "\"n\":true"), &whole[2].replace('\n', "\r\n")]
    {
        lines = whole.clone();
        lines[2] = other.to_string();
        let findings = ["1.log:3: is no line of an audit trail", "1.log:4: n 3 missing before n 4"];
        expect(folder.verify(&[&lines]), TAMPERED, &findings);
    }
}

#[test]
fn a_line_that_is_missing_or_elsewhere_is_found() {
    let (folder, whole) = (Folder::new("moved"), lines());
    let mut lines = whole.clone();
    lines.remove(2);
    expect(folder.verify(&[&lines]), TAMPERED, &["1.log:3: n 3 missing before n 4: taken away"]);
    lines = whole.clone();
    lines.swap(2, 3);
    let findings = ["1.log:3: n 3 missing before n 4", "1.log:4: n 3 stands behind n 4"];
    expect(folder.verify(&[&lines]), TAMPERED, &findings);
    lines = whole.clone();
    lines.insert(3, whole[2].clone());
    expect(folder.verify(&[&lines]), TAMPERED, &["1.log:4: n 3 stands behind n 3: it is there twice"]);
    // Records that were made while there was no file.
    let mut trail = Trail::new("run".into(), 1);
    trail.has_file(true, Some(chain(&whole[1])));
    push(&mut trail, 5);
    lines = vec![whole[0].clone(), whole[1].clone(), take_unwritten(&mut trail)];
    expect(
        folder.verify(&[&lines]),
        TAMPERED,
        &["1.log:3: n 3 to 4 missing before n 5: they were never in these files"],
    );
    // Only the chain shows that the end is missing.
    let (status, said) = folder.verify(&[&whole[..5]]);
    assert_eq!(status, WHOLE);
    assert!(said.contains(&format!("n 1 to 5\nlast chain: {}", chain(&whole[4]))), "{said}");
}

#[test]
fn a_line_that_a_crash_has_cut_off_is_no_fault() {
    let (folder, whole) = (Folder::new("torn"), lines());
    let torn = whole[3][..40].to_string();
    let mut lines = whole.clone();
    lines.insert(3, torn.clone() + "\n");
    expect(folder.verify(&[&lines]), WHOLE, &["note: 1.log:4: is the beginning of a line that a crash has cut off"]);
    lines = whole[..3].to_vec();
    lines.push(torn.clone());
    expect(folder.verify(&[&lines]), WHOLE, &["note: 1.log:4: is the beginning of a line; nothing behind it tells"]);
    let notes = ["note: 1.log:4: is the beginning of a line that a crash has cut off"];
    expect(folder.verify(&[&lines, &whole[3..]]), WHOLE, &notes);
    // The same in place of a line is.
    lines = whole.clone();
    lines[3] = torn + "\n";
    expect(folder.verify(&[&lines]), TAMPERED, &["1.log:4: is no JSON", "1.log:5: n 4 missing before n 5: taken away"]);
}

#[test]
fn what_cannot_be_read_is_told() {
    let folder = Folder::new("usage");
    let (status, said) = folder.run(&[]);
    assert!(status == UNREADABLE && said.contains("scripts/audit-verify FILE..."), "{said}");
    let (status, said) = folder.run(&["none.log"]);
    assert!(status == UNREADABLE && said.contains("none.log: No such file"), "{said}");
}

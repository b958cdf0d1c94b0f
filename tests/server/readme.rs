//! What README.md shows works: its session, and its example in Rust.

use crate::harness::Server;
use std::path::Path;
use std::process::Command;

/// A line of the session, and what is printed below it.
struct Step {
    line: String,
    replies: Vec<String>,
}

/// The session: the block after the comment that names this file. Replies follow `# =>`, other
/// comments explain.
fn session() -> Vec<Step> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = std::fs::read_to_string(path).expect("README.md");
    let (_, rest) =
        readme.split_once("<!-- session: tests/server/readme.rs runs it -->\n```bash\n").expect("a session");
    let (block, _) = rest.split_once("\n```").expect("its end");
    let mut steps: Vec<Step> = Vec::new();
    for line in block.lines() {
        if let Some(reply) = line.strip_prefix("# => ") {
            steps.last_mut().expect("a line before its reply").replies.push(reply.to_string());
        } else if !line.is_empty() && !line.starts_with('#') {
            steps.push(Step { line: line.to_string(), replies: Vec::new() });
        }
    }
    steps
}

/// Numbers of sixteen digits are times, which differ in every run.
fn without_times(line: &str) -> String {
    let mut text = String::new();
    for part in line.split_inclusive(|c: char| !c.is_ascii_digit()) {
        let digits = part.trim_end_matches(|c: char| !c.is_ascii_digit());
        text += &match digits.len() {
            16 => part.replace(digits, "(time)"),
            _ => part.to_string(),
        };
    }
    text
}

/// `redis-cli` in a terminal prints for people. Elsewhere its output is raw.
const REDIS_CLI: &str = r#"
exec 2>&1
redis-cli() {
    local format=--raw
    [ "$BASH_SUBSHELL" != 0 ] || format=--no-raw
    command redis-cli -p "$PORT" "$format" "$@"
}
"#;

#[test]
fn the_session_of_the_readme_gives_the_replies_that_it_shows_as_often_as_it_is_pasted() {
    let server = Server::start();
    let steps = session();
    assert!(steps.len() > 20, "{} lines", steps.len());
    let lines = steps.iter().map(|step| format!("{}\necho '(next)'\n", step.line));
    let script = format!("{REDIS_CLI}{}", lines.collect::<String>());
    for time in ["the first", "the second"] {
        let port = server.port().to_string();
        let ran = Command::new("bash").args(["-c", &script]).env("PORT", port).output().expect("bash runs");
        let printed = String::from_utf8_lossy(&ran.stdout);
        let mut outputs = printed.split("(next)\n");
        for Step { line, replies } in &steps {
            let output = outputs.next().unwrap_or_else(|| panic!("{time} time, no end: {line}\n{printed}"));
            let is: Vec<String> = output.lines().map(without_times).collect();
            let shown: Vec<String> = replies.iter().map(|reply| without_times(reply)).collect();
            assert_eq!(is, shown, "{time} time: {line}");
        }
    }
}

/// The body is the README's, apart from the address.
#[rustfmt::skip]
#[test]
fn the_rust_example_of_the_readme_works() -> redis::RedisResult<()> {
    let server = Server::start();
    let mut con = redis::Client::open(server.url())?.get_connection()?;
    let fence: Option<u64> = redis::cmd("LTMC.LOCK")
        .arg("{team}:repo").arg("ada").arg("PATH").arg("src/db").arg("PX").arg(30_000).arg("BLOCK").arg(5_000)
        .query(&mut con)?;
    if let Some(fence) = fence {
        redis::cmd("LTMC.GUARD").arg("{team}:repo").arg(fence).arg("SET").arg("{team}:doc").arg("text").exec(&mut con)?;
        redis::cmd("LTMC.UNLOCK").arg("{team}:repo").arg("ada").arg("TOKEN").arg(fence).exec(&mut con)?;
    }
    assert_eq!(server.run("GET {team}:doc").text(), "text");
    assert_eq!(server.run("EXISTS {team}:repo").int(), 0);
    Ok(())
}

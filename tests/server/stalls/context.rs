//! Contexts: large documents, wide objects, many changes, many checkpoints.

use super::stage::text;

pub const SCENES: &[super::Scene] = &[
    ("context: a wide object", |stage| {
        let members = values(stage, 24);
        let doc = object(members, |_| "1".into());
        stage.dear(format!("CTX.CREATE with {members} members"), &["LTMC.CTX.CREATE", "ctx", "DOC", &doc]);
        let members = members.min(stage.max("context-edits-max"));
        let changed = object(members, |_| "2".into());
        stage.dear(
            format!("CTX.UPDATE MERGE changes {members} members"),
            &["LTMC.CTX.UPDATE", "ctx", "a", "MERGE", &changed],
        );
        stage.dear_line("CTX.GET", "LTMC.CTX.GET ctx");
        for round in 0..HISTORY_EDITS / members {
            let changed = object(members, |_| format!("{round}"));
            stage.cmd(&["LTMC.CTX.UPDATE", "ctx", "a", "MERGE", &changed]);
        }
        let oldest = stage.run("LTMC.CTX.GET ctx PATH 1 /none").get("version").int() - (HISTORY_EDITS / members) as i64;
        stage.dear_line("CTX.GET AT the oldest version", &format!("LTMC.CTX.GET ctx AT {oldest}"));
        stage.dear_line("CTX.DIFF since the oldest version", &format!("LTMC.CTX.DIFF ctx {oldest}"));
        let nulled = object(members, |_| "null".into());
        stage.dear(
            format!("CTX.UPDATE MERGE removes {members} members"),
            &["LTMC.CTX.UPDATE", "ctx", "a", "MERGE", &nulled],
        );
    }),
    ("context: members added", |stage| {
        let members = values(stage, 24).min(stage.max("context-edits-max"));
        stage.run("LTMC.CTX.CREATE ctx");
        let checkpoint = stage.run("LTMC.CTX.CHECKPOINT ctx").int();
        let doc = object(members, |_| "1".into());
        stage.dear(format!("CTX.UPDATE MERGE adds {members} members"), &["LTMC.CTX.UPDATE", "ctx", "a", "MERGE", &doc]);
        for round in 1..HISTORY_EDITS / members {
            let changed = object(members, |_| format!("{round}"));
            stage.cmd(&["LTMC.CTX.UPDATE", "ctx", "a", "MERGE", &changed]);
        }
        stage.dear_line("CTX.ROLLBACK over all edits of a history", &format!("LTMC.CTX.ROLLBACK ctx {checkpoint}"));
    }),
    ("context: numbers", |stage| {
        let count = values(stage, 3);
        let doc = format!(r#"{{"a":[{}]}}"#, vec!["1"; count].join(","));
        stage.dear(format!("CTX.CREATE with {count} numbers"), &["LTMC.CTX.CREATE", "ctx", "DOC", &doc]);
        // Each of them removes and adds.
        let moves = stage.max("context-edits-max") / 2;
        let patch = vec![r#"{"op":"move","from":"/a/0","path":"/a/-"}"#; moves];
        let patch = format!("[{}]", patch.join(","));
        stage.dear(format!("CTX.UPDATE PATCH, {moves} moves in it"), &["LTMC.CTX.UPDATE", "ctx", "a", "PATCH", &patch]);
    }),
    ("context: deep arrays", |stage| {
        let deep = format!("{}{}", "[".repeat(60), "]".repeat(60));
        let count = values(stage, deep.len() + 1).min(stage.max("context-values-max") / 60 - 1);
        let doc = format!(r#"{{"a":[{}]}}"#, vec![deep; count].join(","));
        stage.dear("CTX.CREATE with arrays 60 deep", &["LTMC.CTX.CREATE", "ctx", "DOC", &doc]);
    }),
    ("context: one text", |stage| {
        let bytes = stage.max("context-bytes-max") * 9 / 10;
        let doc = format!(r#"{{"text":"{}","n":1}}"#, text(bytes));
        stage.dear(format!("CTX.CREATE with a text of {bytes} bytes"), &["LTMC.CTX.CREATE", "ctx", "DOC", &doc]);
        stage.dear_line("CTX.GET of it", "LTMC.CTX.GET ctx");
        let all = vec!["/text"; 20].join(" ");
        stage.dear_line("CTX.GET, 20 times all", &format!("LTMC.CTX.GET ctx PATH 20 {all}"));
        stage.dear_line("CTX.BUILD", "LTMC.CTX.BUILD ctx FOR a");
        stage.dear_line("CTX.BUILD BUDGET", "LTMC.CTX.BUILD ctx FOR a BUDGET 100000");
        stage.run("LTMC.CTX.FORK ctx fork");
        stage.dear_line("the first CTX.UPDATE behind FORK", "LTMC.CTX.UPDATE fork a SET /n 2");
    }),
    ("context: many members", |stage| {
        let members = values(stage, 40) / 2;
        let doc = object(members, |n| format!(r#"{{"v":{n}}}"#));
        stage.cmd(&["LTMC.CTX.CREATE", "ctx", "DOC", &doc]);
        stage.dear_line("CTX.BUILD of many members", "LTMC.CTX.BUILD ctx FOR a");
        stage.dear_line("CTX.BUILD BUDGET of many members", "LTMC.CTX.BUILD ctx FOR a BUDGET 1000000");
        stage.dear_line("CTX.GENERATE of one", "LTMC.CTX.GENERATE made 1 ctx");
        (0..7).for_each(|fork| drop(stage.run(&format!("LTMC.CTX.FORK ctx fork-{fork}"))));
        let forks: Vec<String> = (0..7).map(|fork| format!("fork-{fork}")).collect();
        stage.dear_line("CTX.GENERATE of 8", &format!("LTMC.CTX.GENERATE made8 8 ctx {}", forks.join(" ")));
        stage.dear_line("the first CTX.UPDATE behind FORK, many members", "LTMC.CTX.UPDATE fork-0 a SET /n 2");
        stage.dear_line("COPY of it", "COPY ctx copy");
        stage.dear_line("the first CTX.UPDATE behind COPY", "LTMC.CTX.UPDATE copy a SET /n 2");
    }),
    ("context: many operations", |stage| {
        stage.run("LTMC.CTX.CREATE ctx");
        let mut args: Vec<String> = ["LTMC.CTX.UPDATE", "ctx", "a"].map(String::from).to_vec();
        let count = stage.max("context-edits-max");
        (0..count).for_each(|_| args.extend(["INCRBY", "/n", "1"].map(String::from)));
        stage.dear(format!("CTX.UPDATE with {count} INCRBY"), &args);
    }),
    ("context: checkpoints", |stage| {
        let (count, doc) = (stage.max("checkpoints-max"), object(100, |_| "1".into()));
        stage.cmd(&["LTMC.CTX.CREATE", "ctx", "DOC", &doc]);
        stage.fill((0..count).map(|_| "LTMC.CTX.CHECKPOINT ctx PIN".into()));
        stage.dear_line(format!("CTX.CHECKPOINTS of {count}"), "LTMC.CTX.CHECKPOINTS ctx");
        stage.dear_line(format!("CTX.FORK AT with {count} checkpoints"), "LTMC.CTX.FORK ctx fork AT 5");
        stage.dear_line(format!("CTX.ROLLBACK with {count} checkpoints"), "LTMC.CTX.ROLLBACK ctx 5");
        stage.dear_line(format!("CTX.PRUNE of {count} checkpoints"), "LTMC.CTX.PRUNE ctx KEEPLAST 1");
    }),
];

/// About how many edits a history keeps, less than that is.
const HISTORY_EDITS: usize = 9_900;

/// How many values of so many bytes a document may have beside a few others.
fn values(stage: &super::Stage, bytes: usize) -> usize {
    (stage.max("context-bytes-max") / bytes).min(stage.max("context-values-max") - 10)
}

/// An object with so many members.
pub fn object(members: usize, value: impl Fn(usize) -> String) -> String {
    let members: Vec<String> = (0..members).map(|n| format!(r#""member-{n}":{}"#, value(n))).collect();
    format!("{{{}}}", members.join(","))
}

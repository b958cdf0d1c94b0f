//! Contexts: large documents, wide objects, many changes, many checkpoints.

use super::stage::text;

pub const SCENES: &[super::Scene] = &[
    ("context: a wide object", |stage| {
        let members = stage.max("context-bytes-max") / 24;
        let doc = object(members, |_| "1".into());
        stage.dear(format!("CTX.CREATE with {members} members"), &["LTMC.CTX.CREATE", "ctx", "DOC", &doc]);
        let changed = object(members, |_| "2".into());
        stage.dear(
            format!("CTX.UPDATE MERGE changes {members} members"),
            &["LTMC.CTX.UPDATE", "ctx", "a", "MERGE", &changed],
        );
        stage.dear_line("CTX.GET", "LTMC.CTX.GET ctx");
        stage.dear_line("CTX.GET AT 1, all changed", "LTMC.CTX.GET ctx AT 1");
        stage.dear_line("CTX.DIFF, all changed", "LTMC.CTX.DIFF ctx 1");
        let nulled = object(members, |_| "null".into());
        stage.dear(
            format!("CTX.UPDATE MERGE removes {members} members"),
            &["LTMC.CTX.UPDATE", "ctx", "a", "MERGE", &nulled],
        );
    }),
    ("context: members added", |stage| {
        let members = stage.max("context-bytes-max") / 24;
        stage.run("LTMC.CTX.CREATE ctx");
        let checkpoint = stage.run("LTMC.CTX.CHECKPOINT ctx").int();
        let doc = object(members, |_| "1".into());
        stage.dear(format!("CTX.UPDATE MERGE adds {members} members"), &["LTMC.CTX.UPDATE", "ctx", "a", "MERGE", &doc]);
        stage.dear_line("CTX.ROLLBACK over it", &format!("LTMC.CTX.ROLLBACK ctx {checkpoint}"));
    }),
    ("context: numbers", |stage| {
        let count = stage.max("context-bytes-max") / 3;
        let doc = format!(r#"{{"a":[{}]}}"#, vec!["1"; count].join(","));
        stage.dear(format!("CTX.CREATE with {count} numbers"), &["LTMC.CTX.CREATE", "ctx", "DOC", &doc]);
        let patch: Vec<String> =
            (0..5_000).map(|_| r#"{"op":"move","from":"/a/0","path":"/a/-"}"#.to_string()).collect();
        let patch = format!("[{}]", patch.join(","));
        stage.dear("CTX.UPDATE PATCH, 5000 moves in it", &["LTMC.CTX.UPDATE", "ctx", "a", "PATCH", &patch]);
    }),
    ("context: deep arrays", |stage| {
        let deep = format!("{}{}", "[".repeat(60), "]".repeat(60));
        let count = stage.max("context-bytes-max") / (deep.len() + 1);
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
        let members = stage.max("context-bytes-max") / 40;
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
        (0..300_000).for_each(|_| args.extend(["INCRBY", "/n", "1"].map(String::from)));
        stage.dear("CTX.UPDATE with 300000 INCRBY", &args);
    }),
    ("context: checkpoints", |stage| {
        let doc = object(100, |_| "1".into());
        stage.cmd(&["LTMC.CTX.CREATE", "ctx", "DOC", &doc]);
        stage.fill((0..100_000).map(|_| "LTMC.CTX.CHECKPOINT ctx PIN".into()));
        stage.dear_line("CTX.CHECKPOINTS of 100000", "LTMC.CTX.CHECKPOINTS ctx");
        stage.dear_line("CTX.FORK AT with 100000 checkpoints", "LTMC.CTX.FORK ctx fork AT 5");
        stage.dear_line("CTX.ROLLBACK with 100000 checkpoints", "LTMC.CTX.ROLLBACK ctx 5");
        stage.dear_line("CTX.PRUNE of 100000 checkpoints", "LTMC.CTX.PRUNE ctx KEEPLAST 1");
    }),
];

/// An object with so many members.
pub fn object(members: usize, value: impl Fn(usize) -> String) -> String {
    let members: Vec<String> = (0..members).map(|n| format!(r#""member-{n}":{}"#, value(n))).collect();
    format!("{{{}}}", members.join(","))
}

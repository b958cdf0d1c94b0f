//! Sessions and contexts: checkpoints, versions, and what is left out.

use crate::harness::*;

/// The four names of the report: the ids of these checkpoints are 1 to 4.
#[test]
fn a_checkpoint_cannot_be_named_like_the_id_of_another() {
    let server = Server::start();
    for (kind, restore, write) in [
        ("SESSION", "LTMC.SESSION.RESTORE", "LTMC.SESSION.SET k n"),
        ("CTX", "LTMC.CTX.ROLLBACK", "LTMC.CTX.UPDATE k ada SET /n"),
    ] {
        server.run("DEL k");
        run(&server, &format!("LTMC.{kind}.CREATE k"));
        for n in 0..4 {
            run(&server, &format!("{write} {n}"));
            for name in [format!("{n}"), format!("0{n}"), format!("+{n}"), format!("-{n}")] {
                let before = server.debug_digest();
                let error = server.run(&format!("LTMC.{kind}.CHECKPOINT k NAME {name}"));
                assert_eq!(error.error_code(), "ERR");
                let told = format!("option NAME is '{name}', allowed are texts that are no whole number");
                assert!(error.error().contains(&told), "{error:?}");
                assert_eq!(server.debug_digest(), before);
            }
            assert_eq!(run(&server, &format!("LTMC.{kind}.CHECKPOINT k NAME step-{n}")).int(), n + 1);
        }
        // A number is an id, whatever the names are.
        for text in ["0", "5", "01", "+1", "99999999999999999999"] {
            for line in [format!("{restore} k {text}"), format!("LTMC.{kind}.FORK k other AT {text}")] {
                let error = server.run(&line);
                assert!(error.error().contains(&format!("there is no checkpoint '{text}', none has this id")), "{line}");
            }
        }
        for (text, n) in [("2", 1), ("step-2", 2), ("4", 3), ("step-0", 0)] {
            run(&server, &format!("{restore} k {text}"));
            run(&server, &format!("LTMC.{kind}.FORK k f{text} AT {text}"));
            for key in ["k".to_string(), format!("f{text}")] {
                let shown = match kind {
                    "SESSION" => run(&server, &format!("LTMC.SESSION.GET {key} n")).text().to_string(),
                    _ => run(&server, &format!("LTMC.CTX.GET {key}")).get("doc").text().replace(['{', '}'], ""),
                };
                assert_eq!(shown.trim_start_matches("\"n\":"), n.to_string(), "{kind}: {text}");
            }
        }
        server.run("DEL f2 fstep-2 f4 fstep-0");
    }
}

#[test]
fn a_name_that_several_checkpoints_have_means_the_newest_that_is_left() {
    let server = Server::start();
    for n in 1..=3 {
        run(&server, &format!("LTMC.SESSION.SET s n {n}"));
        run(&server, &format!("LTMC.SESSION.CHECKPOINT s NAME same {}", if n == 1 { "PIN" } else { "" }));
    }
    run(&server, "LTMC.SESSION.SET s n 4");
    run(&server, "LTMC.SESSION.RESTORE s same");
    assert_eq!(run(&server, "LTMC.SESSION.GET s n").text(), "3");
    run(&server, "LTMC.SESSION.PRUNE s KEEPLAST 0");
    run(&server, "LTMC.SESSION.RESTORE s same");
    assert_eq!(run(&server, "LTMC.SESSION.GET s n").text(), "1");
}

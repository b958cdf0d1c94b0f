//! Chunk buffers: large chunks, many chunks.

use super::stage::text;

pub const SCENES: &[super::Scene] = &[
    ("buffer: large chunks", |stage| {
        let bytes = stage.max("chunk-bytes-max");
        let data = text(bytes);
        stage.dear(format!("CHUNK.PUT of {bytes} bytes"), &["LTMC.CHUNK.PUT", "b", "put", &data]);
        stage.dear("CHUNK.PUT of an equal one", &["LTMC.CHUNK.PUT", "b", "equal", &data]);
        stage.dear_line(
            format!("CHUNK.ALLOC of {bytes} bytes"),
            &format!("LTMC.CHUNK.ALLOC b SIZE {bytes} ID allocated AGENT a"),
        );
        stage.dear(format!("CHUNK.WRITE of {bytes} bytes"), &["LTMC.CHUNK.WRITE", "b", "allocated", "0", &data]);
        stage.dear_line(format!("CHUNK.SEAL of {bytes} bytes"), "LTMC.CHUNK.SEAL b allocated");
        stage.dear("CHUNK.WRITE of a byte to a shared content", &["LTMC.CHUNK.WRITE", "b", "equal", "0", "y"]);
        stage.dear_line(format!("CHUNK.READ of {bytes} bytes"), "LTMC.CHUNK.READ b put");
        (0..6).for_each(|n| drop(stage.cmd(&["LTMC.CHUNK.PUT", "b", &format!("c{n}"), &format!("{n}{}", &data[1..])])));
        stage.dear_line(format!("CHUNK.MGET of 8 of {bytes} bytes"), "LTMC.CHUNK.MGET b put equal c0 c1 c2 c3 c4 c5");
    }),
    ("buffer: many chunks", |stage| {
        let count = stage.max("buffer-chunks-max").min(300_000);
        stage.fill((0..count).map(|n| format!("LTMC.CHUNK.PUT b c{n} data-{n} PX 3600000")));
        stage.dear_line(format!("CHUNK.LIST of {count}"), "LTMC.CHUNK.LIST b");
        stage.dear_line(format!("CHUNK.LIST CURSOR of {count}"), "LTMC.CHUNK.LIST b CURSOR 0 COUNT 1000000");
        stage.dear_line(format!("CHUNK.LIST AGENT, none of {count}"), "LTMC.CHUNK.LIST b AGENT nobody");
        stage.dear_line(format!("CHUNK.BUFFER POLICY with {count}"), "LTMC.CHUNK.BUFFER b POLICY LRU");
        stage.dear_line(format!("CHUNK.POPULAR with {count}"), "LTMC.CHUNK.POPULAR b LIMIT 1000");
        let asked = 100_000;
        let mut args = vec!["LTMC.CHUNK.HAVE".to_string(), "b".into(), asked.to_string()];
        args.extend((0..asked).map(|n| format!("{n:064x}")));
        stage.dear(format!("CHUNK.HAVE of {asked}"), &args);
        let mut args = vec!["LTMC.CHUNK.FREE".to_string(), "b".into()];
        args.extend((0..count / 3).map(|n| format!("c{n}")));
        stage.dear(format!("CHUNK.FREE of {}", count / 3), &args);
        stage.dear_line(format!("{} chunks expire", count - count / 3), "LTMC.DEBUG CLOCK 3600000");
    }),
    ("buffer: resize", |stage| {
        let count = stage.max("buffer-chunks-max").min(300_000);
        stage.run("LTMC.CHUNK.BUFFER b MINBYTES 0");
        let data = text(100);
        stage.fill((0..count).map(|n| format!("LTMC.CHUNK.PUT b c{n} {n}{data}")));
        stage.dear_line(format!("CHUNK.RESIZE, {count} go"), "LTMC.CHUNK.RESIZE b MAXBYTES 65536");
    }),
];

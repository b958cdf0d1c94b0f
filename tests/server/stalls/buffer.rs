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
        let part = &data[..stage.max("reply-bytes-max") / 4 - 100];
        (0..4).for_each(|n| drop(stage.cmd(&["LTMC.CHUNK.PUT", "b", &format!("p{n}"), &format!("{n}{part}")])));
        stage.dear_line(format!("CHUNK.MGET of 4 of {} bytes", part.len()), "LTMC.CHUNK.MGET b p0 p1 p2 p3");
        stage.dear_line("CHUNK.FREE of large ones", "LTMC.CHUNK.FREE b put equal c0 c1 c2 c3 c4 c5 p0 p1 p2 p3");
    }),
    ("buffer: many chunks", |stage| {
        let (count, most) = (stage.max("buffer-chunks-max").min(stage.some(200_000)), stage.max("arguments-max") - 3);
        stage.fill((0..count).map(|n| format!("LTMC.CHUNK.PUT b c{n} data-{n} PX 3600000")));
        stage.dear_line(format!("CHUNK.LIST of {count}"), "LTMC.CHUNK.LIST b");
        stage.dear_line(format!("CHUNK.LIST CURSOR of {count}"), "LTMC.CHUNK.LIST b CURSOR 0 COUNT 1000000");
        stage.dear_line(
            format!("CHUNK.LIST LIMIT at the end of {count}"),
            &format!("LTMC.CHUNK.LIST b LIMIT {} 10", count - 10),
        );
        stage.dear_line(format!("CHUNK.LIST AGENT, none of {count}"), "LTMC.CHUNK.LIST b AGENT nobody");
        let ids: Vec<String> = (0..most).map(|n| format!("c{}", n * 16)).collect();
        stage.dear_line(format!("CHUNK.MGET of {most}"), &format!("LTMC.CHUNK.MGET b {}", ids.join(" ")));
        stage.fill((0..stage.some(20_000)).map(|n| format!("LTMC.CHUNK.READ b c{}", n % count)));
        stage.dear_line(format!("CHUNK.POPULAR with {count}"), "LTMC.CHUNK.POPULAR b LIMIT 1000");
        stage.dear_line(format!("CHUNK.STATS with {count}"), "LTMC.CHUNK.STATS b");
        let hashes: Vec<String> = (0..most).map(|n| format!("{n:016x}")).collect();
        stage.dear_line(format!("CHUNK.HAVE of {most}"), &format!("LTMC.CHUNK.HAVE b {most} {}", hashes.join(" ")));
        let freed = stage.some(2_000);
        let ids: Vec<String> = (0..freed).map(|n| format!("c{n}")).collect();
        stage.dear_line(format!("CHUNK.FREE of {freed}"), &format!("LTMC.CHUNK.FREE b {}", ids.join(" ")));
        stage.dear_line(format!("{} chunks expire", count - freed), "LTMC.DEBUG CLOCK 3600000");
    }),
    ("buffer: room for a large one", |stage| {
        let (bytes, count) = (stage.max("chunk-bytes-max"), stage.some(100_000).min(stage.max("buffer-chunks-max")));
        stage.run(&format!("LTMC.CHUNK.BUFFER b MINBYTES 0 MAXBYTES {}", 6 * bytes));
        let data = text(100);
        stage.fill((0..count).map(|n| format!("LTMC.CHUNK.PUT b c{n} {n}{data}")));
        stage.dear("CHUNK.PUT of a large one for many small ones", &["LTMC.CHUNK.PUT", "b", "large", &text(bytes)]);
        stage.dear_line("CHUNK.RESIZE to nothing", "LTMC.CHUNK.RESIZE b MAXBYTES 65536");
    }),
    ("buffer: holders", |stage| {
        let count = stage.max("chunk-holders-max");
        stage.run("LTMC.CHUNK.PUT b c x");
        stage.fill((0..count).map(|n| format!("LTMC.CHUNK.PIN b c agent-{n} PX 3600000")));
        stage.dear_line(format!("CHUNK.INFO with {count} holders"), "LTMC.CHUNK.INFO b c");
        stage.dear_line(format!("{count} pins end"), "LTMC.DEBUG CLOCK 3600000");
    }),
];

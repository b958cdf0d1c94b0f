//! The vectors of RFC 8785, and what it does not allow.

use super::*;

fn form(text: &str) -> String {
    let out = canonical("args", text.as_bytes(), 64).unwrap_or_else(|error| panic!("{text}: {error}"));
    String::from_utf8(out).expect("UTF-8")
}

fn refusal(text: &[u8]) -> String {
    match canonical("args", text, 64) {
        Err(error) => error.line(),
        Ok(out) => panic!("{} became {}", printable(text), printable(&out)),
    }
}

#[test]
fn the_example_of_section_3_2_2_comes_out() {
    let given = r#"{
        "numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
        "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
        "literals": [null, true, false]
    }"#;
    let expected = r#"{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"string":"€$\u000f\nA'B\"\\\\\"/"}"#;
    assert_eq!(form(given), expected);
}

#[test]
fn members_are_sorted_by_utf16_code_units_as_in_section_3_2_3() {
    let given = "{\"\\u20ac\":\"Euro Sign\",\"\\r\":\"Carriage Return\",\"\\ufb33\":\"Hebrew Letter Dalet With Dagesh\",\"1\":\"One\",\
                 \"\\ud83d\\ude00\":\"Emoji: Grinning Face\",\"\\u0080\":\"Control\",\"\\u00f6\":\"Latin Small Letter O With Diaeresis\"}";
    let sorted = form(given);
    let order = ["Carriage Return", "One", "Control", "Latin Small", "Euro Sign", "Emoji", "Hebrew"];
    let places: Vec<usize> = order.iter().map(|value| sorted.find(value).expect(value)).collect();
    assert!(places.is_sorted(), "{sorted}");
}

#[test]
fn numbers_of_appendix_b_come_out() {
    let vectors: [(u64, &str); 24] = [
        (0x0000_0000_0000_0000, "0"),
        (0x8000_0000_0000_0000, "0"),
        (0x0000_0000_0000_0001, "5e-324"),
        (0x8000_0000_0000_0001, "-5e-324"),
        (0x7fef_ffff_ffff_ffff, "1.7976931348623157e+308"),
        (0xffef_ffff_ffff_ffff, "-1.7976931348623157e+308"),
        (0x4340_0000_0000_0000, "9007199254740992"),
        (0xc340_0000_0000_0000, "-9007199254740992"),
        (0x4430_0000_0000_0000, "295147905179352830000"),
        (0x44b5_2d02_c7e1_4af5, "9.999999999999997e+22"),
        (0x44b5_2d02_c7e1_4af6, "1e+23"),
        (0x44b5_2d02_c7e1_4af7, "1.0000000000000001e+23"),
        (0x444b_1ae4_d6e2_ef4e, "999999999999999700000"),
        (0x444b_1ae4_d6e2_ef4f, "999999999999999900000"),
        (0x444b_1ae4_d6e2_ef50, "1e+21"),
        (0x3eb0_c6f7_a0b5_ed8c, "9.999999999999997e-7"),
        (0x3eb0_c6f7_a0b5_ed8d, "0.000001"),
        (0x41b3_de43_5555_5553, "333333333.3333332"),
        (0x41b3_de43_5555_5554, "333333333.33333325"),
        (0x41b3_de43_5555_5555, "333333333.3333333"),
        (0x41b3_de43_5555_5556, "333333333.3333334"),
        (0x41b3_de43_5555_5557, "333333333.33333343"),
        (0xbecb_f647_612f_3696, "-0.0000033333333333333333"),
        (0x4314_3ff3_c1cb_0959, "1424953923781206.2"),
    ];
    for (bits, expected) in vectors {
        let value = f64::from_bits(bits);
        assert_eq!(number_text(value), expected, "{bits:016x}");
        // A canonical text stays as it is.
        assert_eq!(form(expected), expected);
        assert_eq!(form(&format!("[{value:?}]")), format!("[{expected}]"));
    }
}

#[test]
fn texts_that_mean_the_same_become_one() {
    for same in
        ["{\"b\":[1.0,-0],\"a\":\"\\u0041\"}", " {\"a\" : \"A\",\n\"b\":[ 1 ,0e5 ] } ", "{\"a\":\"A\",\"b\":[10e-1,0]}"]
    {
        assert_eq!(form(same), r#"{"a":"A","b":[1,0]}"#);
    }
    assert_eq!(form("{\"b\":{},\"a\":[[],{}]}"), r#"{"a":[[],{}],"b":{}}"#);
    assert_eq!(form("\"\\b\\f\\t\\u0001\\u007f\""), "\"\\b\\f\\t\\u0001\u{7f}\"");
}

#[test]
fn what_is_no_json_is_refused_and_says_where() {
    for (text, why) in [
        ("", "ends too early"),
        ("{\"a\":1,\"a\":2}", "stands twice"),
        ("{\"b\":1,\"a\":1,\"\\u0062\":2}", "stands twice"),
        ("[1,]", "no value"),
        ("[1 2]", "no comma"),
        ("{\"a\" 1}", "no colon"),
        ("{a:1}", "no name"),
        ("{\"a\":1,}", "no name"),
        ("1 2", "more text"),
        ("01", "no number"),
        ("-", "no number"),
        ("1.", "after the point"),
        ("1e", "exponent"),
        ("+1", "no value"),
        ("NaN", "no value"),
        ("1e400", "too large"),
        ("\"\\ud800\"", "surrogate"),
        ("\"\\ud800\\u0041\"", "surrogate"),
        ("\"\\udc00\"", "surrogate"),
        ("\"\\x\"", "unknown escape"),
        ("\"\\u00g0\"", "hexadecimal"),
        ("\"a", "does not end"),
        ("\"a\nb\"", "control character"),
        ("tru", "no value"),
        ("\"\\", "escape"),
        ("\"\\u12", "hexadecimal"),
    ] {
        let refused = refusal(text.as_bytes());
        assert!(refused.starts_with("ERR args") && refused.contains(why), "{text}: {refused}");
    }
    assert!(refusal(b"\"\xff\"").contains("UTF-8"));
}

#[test]
fn a_whole_number_that_a_double_cannot_hold_is_refused() {
    for (given, written) in
        [("9007199254740993", "9007199254740992"), ("-12345678901234567891", "-12345678901234567000")]
    {
        let refused = refusal(given.as_bytes());
        assert!(refused.contains(given) && refused.contains(written), "{refused}");
    }
    // Numbers that are written as they were given are accepted.
    assert_eq!(form("[9007199254740992,295147905179352830000,1234567890123456]").len(), 57);
    // Nobody expects more of a fraction than a double holds.
    assert_eq!(form("0.1000000000000000055511151231257827"), "0.1");
}

#[test]
fn hostile_depth_is_refused_by_name() {
    let deep = "[".repeat(1_000_000);
    let refused = refusal(deep.as_bytes());
    assert!(refused.starts_with("LIMIT args") && refused.contains("ltmc.json-depth-max"), "{refused}");
    assert_eq!(form(&format!("{}{}", "[".repeat(64), "]".repeat(64))).len(), 128);
}

#[test]
fn numbers_of_few_digits_are_written_as_all_others() {
    let mut seed = 3;
    let mut draw = |end: u64| crate::domain::algorithm::splitmix::next_random(&mut seed) % end;
    for _ in 0..20_000 {
        let (size, shift) = (draw(17) as u32, draw(40) as i32 - 20);
        let whole = draw(10u64.pow(size.max(1)));
        let sign = ["", "-"][draw(2) as usize];
        let literal = match draw(3) {
            0 => format!("{sign}{whole}e{shift}"),
            1 => format!("{sign}{}.{whole}", draw(1_000)),
            _ => format!("{sign}0.{}{whole}E+{}", "0".repeat(draw(9) as usize), draw(9)),
        };
        let Some((digits, point)) = few_digits(&literal) else { continue };
        let value: f64 = literal.parse().expect("a number");
        assert_eq!(layout(literal.starts_with('-'), digits, point), number_text(value), "{literal}");
    }
    assert_eq!(few_digits("1e300"), None);
    assert_eq!(few_digits("-0.00E5").map(|(digits, point)| layout(true, digits, point)), Some("0".into()));
}

//! What a server answers, and the codec for it (RESP2 and RESP3).

use std::fmt;

/// One reply. Maps keep their order; RESP3 sets are arrays; verbatim strings are bulks.
#[derive(Clone, PartialEq)]
pub enum Reply {
    Nil,
    Int(i64),
    Double(f64),
    Bool(bool),
    Simple(String),
    Bulk(Vec<u8>),
    /// The whole line: the code, a space, the text.
    Error(String),
    Array(Vec<Reply>),
    Map(Vec<(Reply, Reply)>),
    /// Out of band (RESP3): never an answer to a command.
    Push(Vec<Reply>),
}

impl Reply {
    /// The integer, or a panic that shows what came instead.
    #[track_caller]
    pub fn int(&self) -> i64 {
        match self {
            Reply::Int(n) => *n,
            other => panic!("expected an integer, got {other:?}"),
        }
    }

    /// A number in whatever form: integer, double or text.
    #[track_caller]
    pub fn float(&self) -> f64 {
        match self {
            Reply::Int(n) => *n as f64,
            Reply::Double(x) => *x,
            other => other.text().parse().unwrap_or_else(|_| panic!("expected a number, got {other:?}")),
        }
    }

    /// The bytes of a bulk or simple string.
    #[track_caller]
    pub fn bytes(&self) -> &[u8] {
        match self {
            Reply::Bulk(bytes) => bytes,
            Reply::Simple(text) => text.as_bytes(),
            other => panic!("expected a string, got {other:?}"),
        }
    }

    /// A bulk or simple string that is UTF-8.
    #[track_caller]
    pub fn text(&self) -> &str {
        std::str::from_utf8(self.bytes()).unwrap_or_else(|_| panic!("expected UTF-8, got {self:?}"))
    }

    #[track_caller]
    pub fn array(&self) -> &[Reply] {
        match self {
            Reply::Array(items) | Reply::Push(items) => items,
            other => panic!("expected an array, got {other:?}"),
        }
    }

    /// An array of strings.
    #[track_caller]
    pub fn texts(&self) -> Vec<String> {
        self.array().iter().map(|item| item.text().to_string()).collect()
    }

    /// An array of integers.
    #[track_caller]
    pub fn ints(&self) -> Vec<i64> {
        self.array().iter().map(Reply::int).collect()
    }

    /// The whole error line, `CODE text`.
    #[track_caller]
    pub fn error(&self) -> &str {
        match self {
            Reply::Error(line) => line,
            other => panic!("expected an error, got {other:?}"),
        }
    }

    /// The first word of the error line.
    #[track_caller]
    pub fn error_code(&self) -> &str {
        self.error().split(' ').next().unwrap_or_default()
    }

    /// Panics unless this is `+OK`.
    #[track_caller]
    pub fn ok(&self) {
        assert!(matches!(self, Reply::Simple(text) if text == "OK"), "expected OK, got {self:?}");
    }

    pub fn is_nil(&self) -> bool {
        matches!(self, Reply::Nil)
    }

    pub fn is_error(&self) -> bool {
        matches!(self, Reply::Error(_))
    }

    /// The pairs of a map, be it a RESP3 map or the flat RESP2 form.
    #[track_caller]
    pub fn pairs(&self) -> Vec<(&Reply, &Reply)> {
        match self {
            Reply::Map(pairs) => pairs.iter().map(|(k, v)| (k, v)).collect(),
            Reply::Array(items) if items.len() % 2 == 0 => items.chunks(2).map(|c| (&c[0], &c[1])).collect(),
            other => panic!("expected a map, got {other:?}"),
        }
    }

    /// The value of a map's field, if it is there.
    #[track_caller]
    pub fn find(&self, field: &str) -> Option<&Reply> {
        let is_field = |k: &Reply| matches!(k, Reply::Bulk(_) | Reply::Simple(_)) && k.bytes() == field.as_bytes();
        self.pairs().into_iter().find(|(k, _)| is_field(k)).map(|(_, v)| v)
    }

    /// The value of a map's field.
    #[track_caller]
    pub fn get(&self, field: &str) -> &Reply {
        self.find(field).unwrap_or_else(|| panic!("no field {field:?} in {self:?}"))
    }

    /// The reply, or the error line.
    pub fn into_result(self) -> Result<Reply, String> {
        match self {
            Reply::Error(line) => Err(line),
            other => Ok(other),
        }
    }
}

/// As short as redis-cli shows it, since a failed assertion prints this.
impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reply::Nil => f.write_str("nil"),
            Reply::Int(n) => write!(f, "{n}"),
            Reply::Double(x) => write!(f, "{x}"),
            Reply::Bool(b) => write!(f, "{b}"),
            Reply::Simple(text) => write!(f, "+{text}"),
            Reply::Bulk(bytes) => write!(f, "\"{}\"", bytes.escape_ascii()),
            Reply::Error(line) => write!(f, "-{line}"),
            Reply::Array(items) => f.debug_list().entries(items).finish(),
            Reply::Map(pairs) => f.debug_map().entries(pairs.iter().map(|(k, v)| (k, v))).finish(),
            Reply::Push(items) => write!(f, ">{items:?}"),
        }
    }
}

/// Appends one command to `out`.
pub fn encode<A: AsRef<[u8]>>(args: &[A], out: &mut Vec<u8>) {
    out.extend_from_slice(format!("*{}\r\n", args.len()).as_bytes());
    for arg in args {
        let arg = arg.as_ref();
        out.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
        out.extend_from_slice(arg);
        out.extend_from_slice(b"\r\n");
    }
}

/// The first reply in `input` and how many bytes it takes; `None` if it is not all there yet.
pub fn decode(input: &[u8]) -> Option<(Reply, usize)> {
    let mut reader = Reader { input, at: 0 };
    let reply = reader.reply()?;
    Some((reply, reader.at))
}

struct Reader<'a> {
    input: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn reply(&mut self) -> Option<Reply> {
        let line = self.line()?;
        let (kind, rest) = (line[0], &line[1..]);
        Some(match kind {
            b'+' => Reply::Simple(lossy(rest)),
            b'-' => Reply::Error(lossy(rest)),
            b':' => Reply::Int(number(rest)),
            b'(' => Reply::Bulk(rest.to_vec()),
            b',' => Reply::Double(lossy(rest).parse().unwrap_or_else(|_| broken(line))),
            b'#' => Reply::Bool(rest == b"t"),
            b'_' => Reply::Nil,
            b'$' | b'*' if rest == b"-1" => Reply::Nil,
            b'$' => Reply::Bulk(self.bulk(rest)?.to_vec()),
            b'!' => Reply::Error(lossy(self.bulk(rest)?)),
            // Three letters of format and a colon precede the text.
            b'=' => Reply::Bulk(self.bulk(rest)?[4..].to_vec()),
            b'*' | b'~' => Reply::Array(self.replies(rest)?),
            b'>' => Reply::Push(self.replies(rest)?),
            b'%' => Reply::Map(self.pairs(rest)?),
            b'|' => {
                self.pairs(rest)?;
                self.reply()?
            }
            _ => broken(line),
        })
    }

    fn line(&mut self) -> Option<&'a [u8]> {
        let rest = &self.input[self.at..];
        let end = rest.windows(2).position(|pair| pair == b"\r\n")?;
        self.at += end + 2;
        if end == 0 {
            broken(rest);
        }
        Some(&rest[..end])
    }

    fn bulk(&mut self, length: &[u8]) -> Option<&'a [u8]> {
        let start = self.at;
        let end = start + number(length) as usize;
        if self.input.len() < end + 2 {
            return None;
        }
        self.at = end + 2;
        Some(&self.input[start..end])
    }

    fn replies(&mut self, count: &[u8]) -> Option<Vec<Reply>> {
        (0..number(count)).map(|_| self.reply()).collect()
    }

    fn pairs(&mut self, count: &[u8]) -> Option<Vec<(Reply, Reply)>> {
        (0..number(count)).map(|_| Some((self.reply()?, self.reply()?))).collect()
    }
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn number(digits: &[u8]) -> i64 {
    lossy(digits).parse().unwrap_or_else(|_| broken(digits))
}

fn broken(bytes: &[u8]) -> ! {
    panic!("not RESP: {}", bytes[..bytes.len().min(80)].escape_ascii())
}

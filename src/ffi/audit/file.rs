//! The file of the audit trail.

use crate::observe::audit::last_line::{self, LastLine, TAIL_BYTES};
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// The file, open for appending.
pub struct TrailFile {
    path: PathBuf,
    /// `None` if it could not be opened yet.
    file: Option<File>,
    /// Whether the last line in it is torn; `None` before that was looked at.
    is_torn: Option<bool>,
}

impl TrailFile {
    /// Opens a file, which is made if it is not there. Returns its last line, too. Errs if it holds
    /// anything but a trail.
    pub fn open(path: &Path) -> Result<(Self, Option<LastLine>), String> {
        let refused = |error: &dyn std::fmt::Display| format!("the file {} cannot be used: {error}", path.display());
        let path = std::path::absolute(path).map_err(|error| refused(&error))?;
        let file = open_to_append(&path).map_err(|error| refused(&error))?;
        let tail = tail_of(&file).map_err(|error| refused(&error))?;
        let last = last_line::read(&tail).map_err(|error| refused(&error))?;
        // The thread may be writing it just now.
        Ok((Self { path, file: Some(file), is_torn: None }, last))
    }

    /// A file that cannot be opened now. It is tried again with each line.
    pub fn unopened(path: &Path) -> Self {
        Self { path: path.into(), file: None, is_torn: None }
    }

    /// Opens the file of the same name anew. Errs if it holds anything but a trail.
    pub fn reopen(path: &Path) -> io::Result<Self> {
        Self::open(path).map(|(file, _)| file).map_err(io::Error::other)
    }

    /// Appends whole lines, and takes from `lines` what stands in the file: of a disk that is full,
    /// those that it had room for. If the file was moved away or deleted, a new one is made.
    pub fn append(&mut self, lines: &mut Vec<u8>) -> io::Result<()> {
        if !self.is_in_place()? {
            *self = Self::reopen(&self.path)?;
        }
        let Some(file) = &mut self.file else { return Ok(()) };
        let before = file.metadata()?.len();
        let is_torn = match self.is_torn {
            Some(is_torn) => is_torn,
            None => last_line::is_torn(&tail_of(file)?),
        };
        let line_end = if is_torn { "\n" } else { "" };
        let written = file.write_all(line_end.as_bytes()).and_then(|()| file.write_all(lines));
        if written.is_ok() {
            lines.clear();
            self.is_torn = Some(false);
            return written;
        }
        // A full disk has taken a part of it: whole lines stay, the rest goes again.
        let begin = before + line_end.len() as u64;
        let taken = usize::try_from(file.metadata()?.len().saturating_sub(begin)).unwrap_or(usize::MAX);
        let whole = lines.iter().take(taken).rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let end = if whole > 0 { begin + whole as u64 } else { before };
        let is_cut = file.set_len(end).is_ok();
        self.is_torn = Some(if is_cut { is_torn && whole == 0 } else { true });
        lines.drain(..if is_cut { whole } else { 0 });
        written
    }

    /// Whether it could be opened.
    pub fn is_open(&self) -> bool {
        self.file.is_some()
    }

    /// Has the lines outlast a crash of the machine.
    pub fn sync(&self) -> io::Result<()> {
        match &self.file {
            Some(file) if file.metadata()?.is_file() => file.sync_data(),
            _ => Ok(()),
        }
    }

    /// Whether the file still has its name.
    fn is_in_place(&self) -> io::Result<bool> {
        let Some(file) = &self.file else { return Ok(false) };
        let id = |of: &Metadata| (of.dev(), of.ino());
        match std::fs::metadata(&self.path) {
            Ok(named) => Ok(id(&named) == id(&file.metadata()?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

fn open_to_append(path: &Path) -> io::Result<File> {
    // Opening a pipe would wait for a reader, and hold the server.
    let is_usable = |of: &Metadata| of.is_file() || of.file_type().is_char_device();
    if std::fs::metadata(path).is_ok_and(|found| !is_usable(&found)) {
        return Err(io::Error::other("it is no file"));
    }
    OpenOptions::new().read(true).append(true).create(true).open(path)
}

/// The end of a file. A device has none.
fn tail_of(mut file: &File) -> io::Result<Vec<u8>> {
    let (found, mut tail) = (file.metadata()?, Vec::new());
    if !found.is_file() {
        return Ok(tail);
    }
    let len = found.len();
    file.seek(SeekFrom::Start(len.saturating_sub(TAIL_BYTES)))?;
    file.take(TAIL_BYTES).read_to_end(&mut tail)?;
    Ok(tail)
}

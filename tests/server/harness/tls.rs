//! TLS: certificates as `scripts/tls` makes them, for servers and for every kind of client.

use std::fs;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::process::TempDir;

/// A test CA with a certificate for servers and one for clients. Their files go when it is dropped.
pub struct Certificates {
    dir: TempDir,
}

impl Certificates {
    #[track_caller]
    pub fn make() -> Arc<Certificates> {
        let dir = TempDir::new();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/tls");
        let made = Command::new(&script).arg("certificates").arg(dir.path()).output();
        let made = made.unwrap_or_else(|e| panic!("cannot run {}: {e}", script.display()));
        assert!(made.status.success(), "{}: {}", script.display(), String::from_utf8_lossy(&made.stderr));
        Arc::new(Certificates { dir })
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// What makes a server on `port` speak only TLS, to everybody, and only to clients of this CA.
    pub(super) fn config(&self, port: u16) -> Vec<String> {
        let file = |setting: &str, name: &str| format!("{setting} \"{}\"", self.file(name).display());
        let certificates = [
            file("tls-ca-cert-file", "ca.crt"),
            file("tls-cert-file", "server.crt"),
            file("tls-key-file", "server.key"),
        ];
        let lines = ["port 0", "tls-auth-clients yes", "tls-replication yes", "tls-cluster yes"].map(str::to_string);
        lines.into_iter().chain([format!("tls-port {port}")]).chain(certificates).collect()
    }

    /// Options of redis-cli for a client that trusts this CA, and shows its certificate of `shown`.
    pub fn cli_options(&self, shown: Option<&Certificates>) -> Vec<String> {
        let mut options = vec!["--tls".to_string()];
        let mut file = |option: &str, path: PathBuf| options.extend([option.to_string(), path.display().to_string()]);
        file("--cacert", self.file("ca.crt"));
        if let Some(shown) = shown {
            file("--cert", shown.file("client.crt"));
            file("--key", shown.file("client.key"));
        }
        options
    }

    /// The same for the `redis` crate.
    pub fn for_redis(&self, shown: Option<&Certificates>) -> redis::TlsCertificates {
        let read = |of: &Certificates, name: &str| fs::read(of.file(name)).expect("the certificates are there");
        let client_tls = shown.map(|shown| redis::ClientTlsConfig {
            client_cert: read(shown, "client.crt"),
            client_key: read(shown, "client.key"),
        });
        redis::TlsCertificates { client_tls, root_cert: Some(read(self, "ca.crt")) }
    }

    /// A connection that shows the client's certificate.
    fn secure(&self, socket: TcpStream) -> io::Result<StreamOwned<ClientConnection, TcpStream>> {
        let read = |name: &str| CertificateDer::from_pem_file(self.file(name)).map_err(io::Error::other);
        let mut trusted = RootCertStore::empty();
        trusted.add(read("ca.crt")?).map_err(io::Error::other)?;
        let key = PrivateKeyDer::from_pem_file(self.file("client.key")).map_err(io::Error::other)?;
        let config = ClientConfig::builder().with_root_certificates(trusted);
        let config = config.with_client_auth_cert(vec![read("client.crt")?], key).map_err(io::Error::other)?;
        let server = ServerName::try_from("localhost").expect("it is a name");
        let connection = ClientConnection::new(Arc::new(config), server).map_err(io::Error::other)?;
        Ok(StreamOwned::new(connection, socket))
    }
}

/// What a [`super::Client`] reads from and writes to.
pub(super) enum Transport {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Transport {
    /// Connects to a port on this machine; with TLS if there are certificates.
    pub fn connect(port: u16, certificates: Option<&Certificates>) -> io::Result<Transport> {
        let socket = TcpStream::connect(("127.0.0.1", port))?;
        socket.set_nodelay(true)?;
        Ok(match certificates {
            None => Transport::Plain(socket),
            Some(certificates) => Transport::Tls(Box::new(certificates.secure(socket)?)),
        })
    }

    /// The connection below TLS.
    pub fn socket(&self) -> &TcpStream {
        match self {
            Transport::Plain(socket) => socket,
            Transport::Tls(stream) => &stream.sock,
        }
    }
}

impl Read for Transport {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Transport::Plain(socket) => socket.read(buffer),
            Transport::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Transport {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Transport::Plain(socket) => socket.write(bytes),
            Transport::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Transport::Plain(socket) => socket.flush(),
            Transport::Tls(stream) => stream.flush(),
        }
    }
}

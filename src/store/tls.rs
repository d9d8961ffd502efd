//! TLS to PostgreSQL, as libpq's `sslmode` means it: `disable`, `prefer` and `require` as there (encrypted, the server
//! unverified unless `sslrootcert` is given), `verify-full` checks certificate and name.

use std::sync::Arc;

use rustls::{
    ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
};
use tokio_postgres::config::SslMode;

/// Where Debian, Ubuntu and the distroless images keep the authorities that the system trusts.
const SYSTEM_AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// What a connection string says of TLS.
pub struct Wanted {
    /// Whether to encrypt.
    pub mode: SslMode,
    verify: bool,
    authorities: Option<String>,
}

/// Takes what is about TLS out of a connection string; the rest is tokio-postgres's.
///
/// # Errors
/// `sslmode` has a value that is not supported.
pub fn split(url: &str) -> Result<(String, Wanted), String> {
    let mut wanted = Wanted { mode: SslMode::Prefer, verify: false, authorities: None };
    let is_url = url.starts_with("postgres://") || url.starts_with("postgresql://");
    let (head, parameters, separator) = match url.split_once('?') {
        Some((head, query)) if is_url => (head, query.split('&').collect(), "&"),
        None if is_url => (url, Vec::new(), "&"),
        _ => ("", url.split_ascii_whitespace().collect::<Vec<_>>(), " "),
    };
    let mut others = Vec::new();
    for parameter in parameters {
        match parameter.split_once('=') {
            Some(("sslmode", mode)) => wanted.set_mode(mode)?,
            Some(("sslrootcert", file)) => wanted.authorities = Some(unescaped(file)),
            _ => others.push(parameter),
        }
    }
    let question = if head.is_empty() || others.is_empty() { "" } else { "?" };
    Ok((format!("{head}{question}{}", others.join(separator)), wanted))
}

impl Wanted {
    fn set_mode(&mut self, mode: &str) -> Result<(), String> {
        (self.mode, self.verify) = match mode {
            "disable" => (SslMode::Disable, false),
            "prefer" | "allow" => (SslMode::Prefer, false),
            "require" => (SslMode::Require, false),
            "verify-full" => (SslMode::Require, true),
            _ => return Err(String::from("sslmode is none of disable, prefer, require, verify-full")),
        };
        Ok(())
    }

    /// The client's side of TLS.
    ///
    /// # Errors
    /// The authorities cannot be read.
    pub fn client(&self) -> Result<ClientConfig, String> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        Ok(if self.verify || self.authorities.is_some() {
            builder.with_root_certificates(self.roots()?).with_no_client_auth()
        } else {
            let anyone = Arc::new(Anyone(provider));
            builder.dangerous().with_custom_certificate_verifier(anyone).with_no_client_auth()
        })
    }

    fn roots(&self) -> Result<RootCertStore, String> {
        let file = self.authorities.as_deref().unwrap_or(SYSTEM_AUTHORITIES);
        let unusable = |why: String| format!("sslrootcert: {file} {why}; name a PEM file of the server's authority");
        let mut roots = RootCertStore::empty();
        for certificate in
            CertificateDer::pem_file_iter(file).map_err(|error| unusable(format!("cannot be read ({error})")))?
        {
            let certificate = certificate.map_err(|error| unusable(format!("is no PEM ({error})")))?;
            // Bundles hold certificates that no modern library takes; those are of no use, and no harm.
            let _ = roots.add(certificate);
        }
        if roots.is_empty() { Err(unusable(String::from("holds no certificate"))) } else { Ok(roots) }
    }
}

/// `%2F` and the like in a URL's parameter.
fn unescaped(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let escape = after.get(..2).filter(|_| *first == b'%').and_then(|digits| std::str::from_utf8(digits).ok());
        match escape.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Encrypts with whoever answers: what `require` means without authorities.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_about_tls_leaves_the_connection_string() {
        for (url, rest, mode, verify, authorities) in [
            ("postgres://a/b", "postgres://a/b", SslMode::Prefer, false, None),
            ("postgres://a/b?sslmode=require", "postgres://a/b", SslMode::Require, false, None),
            (
                "postgres://a/b?connect_timeout=3&sslmode=verify-full&sslrootcert=%2Fx%2Fca.pem",
                "postgres://a/b?connect_timeout=3",
                SslMode::Require,
                true,
                Some("/x/ca.pem"),
            ),
            ("host=a sslmode=disable dbname=b", "host=a dbname=b", SslMode::Disable, false, None),
        ] {
            let (plain, wanted) = split(url).expect("a connection string");
            assert_eq!((plain.as_str(), wanted.mode, wanted.verify), (rest, mode, verify));
            assert_eq!(wanted.authorities.as_deref(), authorities);
        }
    }
}

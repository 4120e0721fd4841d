"""The cluster's authority, who it vouches for, and the kubeconfigs that carry it."""

import base64
import datetime as dt
import ipaddress
import json
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from cluster.places import API_SERVER, NAME, STATE

FOLDER = STATE / "certificates"
VALID = dt.timedelta(days=30)


def create_authority() -> None:
    """Write the authority that signs everybody, and the key that signs service accounts' tokens."""
    FOLDER.mkdir(parents=True, mode=0o700)
    key = ec.generate_private_key(ec.SECP256R1())
    _write_key("ca", key)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
    usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
    builder = _builder(name, key).issuer_name(name).add_extension(usage, critical=True)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    _write("ca", builder.sign(key, hashes.SHA256()))
    accounts = ec.generate_private_key(ec.SECP256R1())
    _write_key("service-accounts", accounts)
    public = accounts.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    (FOLDER / "service-accounts.pub").write_bytes(public)


def issue(file: str, name: str, group: str = "", hosts: tuple[str, ...] = ()) -> None:
    """Write FILE.crt and FILE.key: a client `name` of `group`, or a server that answers for `hosts`."""
    authority = x509.load_pem_x509_certificate(path(file="ca.crt").read_bytes())
    signer = serialization.load_pem_private_key(path(file="ca.key").read_bytes(), None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    key = ec.generate_private_key(ec.SECP256R1())
    _write_key(file, key)
    subject = [x509.NameAttribute(NameOID.COMMON_NAME, name)]
    if group:
        subject.append(x509.NameAttribute(NameOID.ORGANIZATION_NAME, group))
    builder = _builder(x509.Name(subject), key).issuer_name(authority.subject)
    uses = [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]
    builder = builder.add_extension(x509.ExtendedKeyUsage(uses), critical=False)
    if hosts:
        names = x509.SubjectAlternativeName([_host(host) for host in hosts])
        builder = builder.add_extension(names, critical=False)
    _write(file, builder.sign(signer, hashes.SHA256()))


def path(file: str) -> Path:
    return FOLDER / file


def write_kubeconfig(target: Path, file: str) -> None:
    """Write a kubeconfig for the client whose certificate is FILE.crt."""

    def data(name: str) -> str:
        return base64.b64encode(path(name).read_bytes()).decode()

    cluster = {"server": API_SERVER, "certificate-authority-data": data("ca.crt")}
    user = {"client-certificate-data": data(f"{file}.crt"), "client-key-data": data(f"{file}.key")}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": NAME,
        "clusters": [{"name": NAME, "cluster": cluster}],
        "users": [{"name": file, "user": user}],
        "contexts": [{"name": NAME, "context": {"cluster": NAME, "user": file}}],
    }
    target.touch(mode=0o600)
    target.write_text(json.dumps(config, indent=1))  # JSON is YAML


def _builder(subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    builder = x509.CertificateBuilder().subject_name(subject).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number())
    return builder.not_valid_before(now - dt.timedelta(minutes=5)).not_valid_after(now + VALID)


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _write(file: str, certificate: x509.Certificate) -> None:
    path(f"{file}.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))


def _write_key(file: str, key: ec.EllipticCurvePrivateKey) -> None:
    # PKCS 1 for service accounts would do as well; this is what every component reads.
    form = serialization.PrivateFormat.PKCS8
    target = path(f"{file}.key")
    target.touch(mode=0o600)
    pem = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    target.write_bytes(pem)

"""Which source of the key ring the settings name."""

from __future__ import annotations

from gateway.pii.key_source import FileSource, KeySource, TextSource
from gateway.serving.pkcs11_envelope import Pkcs11Envelope
from gateway.serving.transit_envelope import TransitEnvelope
from gateway.settings import Settings


def key_source(settings: Settings) -> KeySource:
    """The environment's secret, else the file, sealed where an HSM or a key service is named."""
    if settings.master_key is not None:
        return TextSource(settings.master_key.get_secret_value())
    return FileSource(settings.master_key_path, envelope(settings))


def envelope(settings: Settings) -> Pkcs11Envelope | TransitEnvelope | None:
    """The HSM or the key service that the settings name, or None."""
    if settings.pkcs11_module is not None:
        pin = settings.pkcs11_pin.get_secret_value() if settings.pkcs11_pin else ""
        return Pkcs11Envelope(settings.pkcs11_module, settings.pkcs11_token, settings.pkcs11_key, pin)
    if settings.transit_url is not None:
        token = settings.transit_token.get_secret_value() if settings.transit_token else ""
        return TransitEnvelope(settings.transit_url, settings.transit_key, token, settings.transit_ca_file)
    return None

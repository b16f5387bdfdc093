"""The keys of config.toml's ``[auth]`` and its sections; what the three kinds mean stands in ``keys``."""

from __future__ import annotations

from isobase_platform.config_toml import values
from isobase_platform.config_toml.values import Converter

__all__ = ["NOT_YET", "SETTINGS", "SILENT"]

_RENAMED = {"from": "sender"}
"""A name that Python keeps for itself."""

SETTINGS: dict[str, tuple[str, Converter]] = {
    "auth.enabled": ("auth.enabled", values.flag),
    "auth.site_url": ("auth.site_url", values.text),
    "auth.external_url": ("auth.external_url", values.text_or_none),
    "auth.additional_redirect_urls": ("auth.additional_redirect_urls", values.texts),
    "auth.jwt_expiry": ("auth.jwt_expiry_s", values.number),
    "auth.jwt_issuer": ("auth.jwt_issuer", values.text_or_none),
    "auth.signing_keys_path": ("jwt_keys_file", values.file_path),
    "auth.jwt_secret": ("jwt_secret", values.text),
    "auth.anon_key": ("anon_key", values.text),
    "auth.service_role_key": ("service_role_key", values.text),
    "auth.publishable_key": ("publishable_key", values.text),
    "auth.secret_key": ("secret_key", values.text),
    "auth.enable_signup": ("auth.enable_signup", values.flag),
    "auth.enable_anonymous_sign_ins": ("auth.enable_anonymous_sign_ins", values.flag),
    "auth.enable_refresh_token_rotation": ("auth.enable_refresh_token_rotation", values.flag),
    "auth.refresh_token_reuse_interval": ("auth.refresh_token_reuse_interval_s", values.number),
    "auth.minimum_password_length": ("auth.minimum_password_length", values.number),
    "auth.password_requirements": ("auth.password_requirements", values.text),
    "auth.email.enable_signup": ("auth.email_enable_signup", values.flag),
    "auth.email.enable_confirmations": ("auth.email_enable_confirmations", values.flag),
    "auth.email.smtp.enabled": ("auth.email.smtp.enabled", values.flag),
    "auth.email.smtp.host": ("auth.email.smtp.host", values.text),
    "auth.email.smtp.port": ("auth.email.smtp.port", values.port),
    "auth.email.smtp.user": ("auth.email.smtp.user", values.text),
    "auth.email.smtp.pass": ("auth.email.smtp.password", values.text),
    "auth.email.smtp.admin_email": ("auth.email.smtp.admin_email", values.text),
    "auth.email.smtp.sender_name": ("auth.email.smtp.sender_name", values.text),
    "auth.email.template.*.subject": ("auth.email.template.*.subject", values.text),
    "auth.email.template.*.content_path": ("auth.email.template.*.content_path", values.file_path_of_project),
    "auth.email.notification.*.subject": ("auth.email.notification.*.subject", values.text),
    "auth.email.notification.*.content_path": ("auth.email.notification.*.content_path", values.file_path),
    "auth.email.notification.*.enabled": ("auth.email.notification.*.enabled", values.flag),
    "auth.email.double_confirm_changes": ("auth.email.double_confirm_changes", values.flag),
    "auth.email.secure_password_change": ("auth.email.secure_password_change", values.flag),
    "auth.email.max_frequency": ("auth.email.max_frequency_s", values.duration_s),
    "auth.email.otp_length": ("auth.email.otp_length", values.number),
    "auth.email.otp_expiry": ("auth.email.otp_expiry_s", values.number),
    "auth.sms.max_frequency": ("auth.sms.max_frequency_s", values.duration_s),
    "auth.sms.template": ("auth.sms.template", values.sms_template),
    "auth.sms.test_otp.*": ("auth.sms.test_otp.*", values.text),
    **{
        f"auth.sms.{provider}.{key}": (f"auth.sms.{provider}.{_RENAMED.get(key, key)}", values.text)
        for provider, given in {
            "twilio": ("account_sid", "message_service_sid", "auth_token", "content_sid"),
            "twilio_verify": ("account_sid", "message_service_sid", "auth_token"),
            "messagebird": ("originator", "access_key"),
            "textlocal": ("sender", "api_key"),
            "vonage": ("from", "api_key", "api_secret"),
        }.items()
        for key in given
    },
    "auth.sms.*.enabled": ("auth.sms.*.enabled", values.flag),
    "auth.sms.enable_signup": ("auth.phone_enable_signup", values.flag),
    "auth.sms.enable_confirmations": ("auth.phone_enable_confirmations", values.flag),
    "auth.enable_manual_linking": ("auth.enable_manual_linking", values.flag),
    **{
        f"auth.external.*.{name}": (f"auth.external.*.{name}", convert)
        for name, convert in {
            **dict.fromkeys(("enabled", "skip_nonce_check", "email_optional"), values.flag),
            **dict.fromkeys(("client_id", "secret", "redirect_uri", "url"), values.text),
            "scopes": values.texts,
        }.items()
    },
    "auth.oauth_server.enabled": ("auth.oauth_server.enabled", values.flag),
    "auth.oauth_server.allow_dynamic_registration": ("auth.oauth_server.allow_dynamic_registration", values.flag),
    "auth.oauth_server.authorization_url_path": ("auth.oauth_server.authorization_url_path", values.text),
    **{
        f"auth.third_party.*.{name}": (f"auth.third_party.*.{name}", convert)
        for name, convert in {
            **dict.fromkeys(("enabled", "shares_users"), values.flag),
            **dict.fromkeys(("project_id", "tenant", "tenant_region", "user_pool_id", "user_pool_region"), values.text),
            **dict.fromkeys(("domain", "issuer_url", "jwks_url"), values.text),
            **dict.fromkeys(("role_claim", "default_role", "groups_claim", "group_roles.*"), values.text),
            **dict.fromkeys(("audiences", "privileged_roles"), values.texts),
        }.items()
    },
    "auth.mfa.max_enrolled_factors": ("auth.mfa.max_enrolled_factors", values.number),
    "auth.mfa.totp.enroll_enabled": ("auth.mfa.totp.enroll_enabled", values.flag),
    "auth.mfa.totp.verify_enabled": ("auth.mfa.totp.verify_enabled", values.flag),
    "auth.mfa.phone.enroll_enabled": ("auth.mfa.phone.enroll_enabled", values.flag),
    "auth.mfa.phone.verify_enabled": ("auth.mfa.phone.verify_enabled", values.flag),
    "auth.mfa.phone.otp_length": ("auth.mfa.phone.otp_length", values.number),
    "auth.mfa.phone.template": ("auth.mfa.phone.template", values.sms_template),
    "auth.mfa.phone.max_frequency": ("auth.mfa.phone.max_frequency_s", values.duration_s),
    "auth.mfa.web_authn.enroll_enabled": ("auth.mfa.web_authn.enroll_enabled", values.flag),
    "auth.mfa.web_authn.verify_enabled": ("auth.mfa.web_authn.verify_enabled", values.flag),
    "auth.passkey.enabled": ("auth.passkey.enabled", values.flag),
    "auth.webauthn.rp_id": ("auth.webauthn.rp_id", values.text_or_none),
    "auth.webauthn.rp_display_name": ("auth.webauthn.rp_display_name", values.text_or_none),
    "auth.webauthn.rp_origins": ("auth.webauthn.rp_origins", values.texts),
    **{
        f"auth.rate_limit.{name}": (f"auth.rate_limit.{name}", values.number)
        for name in (
            *("email_sent", "sms_sent", "anonymous_users", "token_refresh", "sign_in_sign_ups", "token_verifications"),
            "web3",
        )
    },
    "auth.sessions.timebox": ("auth.sessions.timebox_s", values.duration_s_or_none),
    "auth.sessions.inactivity_timeout": ("auth.sessions.inactivity_timeout_s", values.duration_s_or_none),
    "auth.captcha.enabled": ("auth.captcha.enabled", values.flag),
    "auth.captcha.provider": ("auth.captcha.provider", values.text),
    "auth.captcha.secret": ("auth.captcha.secret", values.text),
    **{
        f"auth.hook.{name}.{key}": (f"auth.hook.{name}.{key}", convert)
        for name in (
            *("send_email", "send_sms", "custom_access_token", "password_verification_attempt"),
            *("mfa_verification_attempt", "before_user_created", "after_user_created"),
        )
        for key, convert in (("enabled", values.flag), ("uri", values.text), ("secrets", values.text))
    },
}

NOT_YET: dict[str, tuple[object, ...]] = {
    "auth.web3.*.enabled": (False,),
}

SILENT = ("auth.oauth_server.**",)

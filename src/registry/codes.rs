//! The codes of the registry's diagnostics, each defined once. The codes of conflicting
//! keys are in the tables of `validate/conflicts.rs`.

macro_rules! codes {
    ($( $name:ident = $code:literal; )*) => {
        $( pub const $name: &str = $code; )*
        /// Every code in this file.
        pub const ALL: &[&str] = &[$($name),*];
    };
}

codes! {
    ANSWERED_SHARE = "answered-share";
    BUILTIN_ROLE = "builtin-role";
    CONFLICTING_KEYS = "conflicting-keys";
    CONNECTIONS_OVERSUBSCRIBED = "connections-oversubscribed";
    DELIVERY_LOOP = "delivery-loop";
    DEVELOPMENT_EXPOSED = "development-exposed";
    DUPLICATE_NAME = "duplicate-name";
    DUPLICATE_NKEY = "duplicate-nkey";
    DUPLICATE_SECRET = "duplicate-secret";
    DUPLICATE_SHARE = "duplicate-share";
    EMPTY_INCLUDE = "empty-include";
    EMPTY_ROLE = "empty-role";
    FOREIGN_ROLLUP = "foreign-rollup";
    FOREIGN_SECRET = "foreign-secret";
    FOREIGN_SUBJECT = "foreign-subject";
    INVALID_ADDRESS = "invalid-address";
    INVALID_DURATION = "invalid-duration";
    INVALID_IMAGE = "invalid-image";
    INVALID_INCLUDE = "invalid-include";
    INVALID_NAME = "invalid-name";
    INVALID_PUBLIC_KEY = "invalid-public-key";
    INVALID_ROLE_PATTERN = "invalid-role-pattern";
    INVALID_ROOT = "invalid-root";
    INVALID_SIZE = "invalid-size";
    INVALID_SUBJECT = "invalid-subject";
    INVALID_TIME = "invalid-time";
    INVALID_URL = "invalid-url";
    INVALID_VARIABLE = "invalid-variable";
    JETSTREAM_OFF = "jetstream-off";
    JETSTREAM_OVERSUBSCRIBED = "jetstream-oversubscribed";
    LARGE_PAYLOAD = "large-payload";
    LIMIT_EXCEEDS_SERVER = "limit-exceeds-server";
    MISSING_KEY = "missing-key";
    MONITOR_EXPOSED = "monitor-exposed";
    NO_EFFECT = "no-effect";
    NO_ROOM = "no-room";
    NO_SUBJECTS = "no-subjects";
    NO_TENANTS = "no-tenants";
    NO_USERS = "no-users";
    OLD_IMAGE = "old-image";
    ORIGIN_CYCLE = "origin-cycle";
    OUT_OF_RANGE = "out-of-range";
    OVERLAPPING_STREAMS = "overlapping-streams";
    OVERLAPPING_SUBJECTS = "overlapping-subjects";
    PAYLOAD_TOO_SMALL = "payload-too-small";
    RESERVED_NAME = "reserved-name";
    RESERVED_SUBJECT = "reserved-subject";
    RETIRED_NAME = "retired-name";
    SAME_ADDRESS = "same-address";
    SAME_WORK = "same-work";
    SHARE_TO_ITSELF = "share-to-itself";
    SHARE_TO_NOBODY = "share-to-nobody";
    SUPPLIED_PASSWORD = "supplied-password";
    TOML_SYNTAX = "toml-syntax";
    TOO_MANY_CONSUMERS = "too-many-consumers";
    TOO_MANY_STREAMS = "too-many-streams";
    UNBOUNDED_SHARE = "unbounded-share";
    UNKNOWN_KEY = "unknown-key";
    UNKNOWN_ROLE = "unknown-role";
    UNKNOWN_STREAM = "unknown-stream";
    UNKNOWN_TENANT = "unknown-tenant";
    UNKNOWN_WORD = "unknown-word";
    UNSHARED_STREAM = "unshared-stream";
    UNSUPPORTED_CREDENTIAL = "unsupported-credential";
    UNSUPPORTED_MODE = "unsupported-mode";
    UNUSABLE_URL = "unusable-url";
    WIDENED_ROLE = "widened-role";
    WRONG_TYPE = "wrong-type";
}

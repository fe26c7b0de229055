//! The options that nats-server accepts, each with all its names, the canonical one first,
//! and what its value has to be. It rejects any other. `Any`: whoever reads the option checks
//! its value.

use super::options::Kind::{
    Address, Any, Bool, BoolMap, BoolOrDuration, BoolOrMap, BoolTextOrMap, Duration, DurationOrAlways, DurationText,
    Integer, List, LongDuration, Map, Maps, Name, Range, Seconds, Text, TextList, TextMap, TextOrList, TextOrMap,
    Texts, Word,
};
use super::options::OptionNames;

/// Top level of the configuration.
pub const TOP: OptionNames = &[
    (&["listen"], Address),
    (&["client_advertise"], Text),
    (&["port"], Any),
    (&["server_name"], Name),
    (&["host", "net"], Text),
    (&["debug"], Any),
    (&["trace"], Any),
    (&["trace_verbose"], Bool),
    (&["trace_headers"], Bool),
    (&["logtime"], Any),
    (&["logtime_utc"], Any),
    (&["mappings", "maps"], Any),
    (&["disable_sublist_cache", "no_sublist_cache"], Bool),
    (&["accounts"], Any),
    (&["default_sentinel"], Text),
    (&["authorization"], Any),
    (&["http"], Address),
    (&["https"], Address),
    (&["http_port", "monitor_port"], Integer),
    (&["https_port"], Integer),
    (&["http_base_path"], Text),
    (&["cluster"], Any),
    (&["gateway"], Any),
    (&["leafnodes", "leaf"], Any),
    (&["store_dir", "storedir"], Text),
    (&["jetstream"], Any),
    (&["log_file", "logfile"], Text),
    (&["log_size_limit", "logfile_size_limit"], Integer),
    (&["log_max_num", "logfile_max_num"], Integer),
    (&["syslog"], Any),
    (&["remote_syslog"], Text),
    (&["pid_file", "pidfile"], Text),
    (&["ports_file_dir"], Text),
    (&["prof_port"], Integer),
    (&["prof_block_rate"], Integer),
    (&["max_control_line"], Range(-2_147_483_648, 2_147_483_647)),
    (&["max_payload"], Range(-2_147_483_648, 2_147_483_647)),
    (&["max_pending"], Any),
    (&["proxy_protocol"], Bool),
    (&["max_connections", "max_conn"], Any),
    (&["max_traced_msg_len"], Integer),
    (&["max_subscriptions", "max_subs"], Any),
    (&["max_sub_tokens", "max_subscription_tokens"], Range(1, 255)),
    (&["ping_interval"], Duration),
    (&["ping_max"], Any),
    (&["tls"], Map),
    (&["ocsp"], BoolOrMap),
    (&["allow_non_tls"], Bool),
    (&["write_deadline"], Duration),
    (&["write_timeout"], Word(&["default", "close", "retry"])),
    (&["lame_duck_duration"], LongDuration),
    (&["lame_duck_grace_period"], DurationText),
    (&["operator", "operators", "roots", "root", "root_operators", "root_operator"], Any),
    (&["resolver", "account_resolver", "accounts_resolver"], TextOrMap),
    (&["resolver_tls"], Map),
    (&["resolver_preload"], TextMap),
    (&["resolver_pinned_accounts"], Texts),
    (&["no_auth_user"], Any),
    (&["system_account", "system"], Any),
    (&["no_system_account", "no_system", "no_sys_acc"], Bool),
    (&["no_header_support"], Any),
    (&["trusted", "trusted_keys"], TextOrList),
    (&["connect_error_reports"], Integer),
    (&["reconnect_error_reports"], Integer),
    (&["websocket", "ws"], Any),
    (&["mqtt"], Any),
    (&["server_tags"], Texts),
    (&["server_metadata"], TextMap),
    (&["feature_flags"], BoolMap),
    (&["default_js_domain"], Map),
    (&["ocsp_cache"], BoolOrMap),
    (&["no_fast_producer_stall"], Any),
    (&["max_closed_clients"], Integer),
    (&["proxies"], Map),
];

/// An account.
pub const ACCOUNT: OptionNames = &[
    (&["nkey"], Any),
    (&["imports"], Any),
    (&["exports"], Any),
    (&["jetstream"], Any),
    (&["users"], Any),
    (&["default_permissions"], Any),
    (&["mappings", "maps"], Any),
    (&["limits"], Any),
    (&["msg_trace", "trace_dest"], TextOrMap),
];

/// A user.
pub const USER: OptionNames = &[
    (&["nkey"], Any),
    (&["user", "username"], Any),
    (&["password", "pass"], Any),
    (&["permissions", "permission", "authorization"], Any),
    (&["allowed_connection_types", "connection_types", "clients"], Any),
    (&["proxy_required"], Any),
];

/// The permissions of a user.
pub const PERMISSIONS: OptionNames = &[
    (&["publish", "pub", "import"], Any),
    (&["subscribe", "sub", "export"], Any),
    (&["allow_responses", "publish_allow_responses"], Any),
];

/// `allow_responses`.
pub const RESPONSES: OptionNames =
    &[(&["max", "max_msgs", "max_messages", "max_responses"], Any), (&["expires", "expiration", "ttl"], Any)];

/// Limits of an account.
pub const LIMITS: OptionNames = &[
    (&["max_connections", "max_conn"], Any),
    (&["max_subscriptions", "max_subs"], Any),
    (&["max_payload", "max_pay"], Any),
    (&["max_leafnodes", "max_leafs"], Any),
];

/// JetStream of an account.
pub const ACCOUNT_JETSTREAM: OptionNames = &[
    (&["max_memory", "max_mem", "mem", "memory"], Any),
    (&["max_store", "max_file", "max_disk", "store", "disk"], Any),
    (&["max_streams", "streams"], Any),
    (&["max_consumers", "consumers"], Any),
    (&["max_bytes_required", "max_stream_bytes", "max_bytes"], Any),
    (&["mem_max_stream_bytes", "memory_max_stream_bytes"], Integer),
    (&["disk_max_stream_bytes", "store_max_stream_bytes"], Integer),
    (&["max_ack_pending"], Integer),
    (&["cluster_traffic"], Word(&["", "system", "owner"])),
];

/// JetStream of the server.
pub const SERVER_JETSTREAM: OptionNames = &[
    (&["strict"], Bool),
    (&["store_dir", "store", "storedir"], Text),
    (&["sync_interval", "sync"], DurationOrAlways),
    (&["max_memory_store", "max_mem_store", "max_mem"], Any),
    (&["max_file_store", "max_file"], Any),
    (&["domain"], Text),
    (&["enabled", "enable"], Any),
    (&["key", "ek", "encryption_key"], Text),
    (&["prev_key", "prev_ek", "prev_encryption_key"], Text),
    (&["cipher"], Word(&["chacha", "chachapoly", "aes"])),
    (&["extension_hint"], Text),
    (&["limits"], Map),
    (&["tpm"], Map),
    (&["unique_tag"], Text),
    (&["max_outstanding_catchup"], Integer),
    (&["max_buffered_size"], Integer),
    (&["max_buffered_msgs"], Integer),
    (&["request_queue_limit"], Integer),
    (&["info_queue_limit"], Integer),
    (&["meta_compact"], Range(0, i64::MAX)),
    (&["meta_compact_size"], Range(0, i64::MAX)),
    (&["meta_compact_sync"], Bool),
    (&["max_concurrent_io"], Range(4, 8_192)),
];

/// An export.
pub const EXPORT: OptionNames = &[
    (&["stream"], Any),
    (&["service"], Any),
    (&["accounts"], Any),
    (&["response_type", "response"], Any),
    (&["threshold", "response_threshold", "response_max_time", "response_time"], DurationText),
    (&["latency"], TextOrMap),
    (&["account_token_position"], Any),
    (&["allow_trace"], Any),
];

/// An import.
pub const IMPORT: OptionNames = &[
    (&["stream"], Any),
    (&["service"], Any),
    (&["prefix"], Any),
    (&["to"], Any),
    (&["share"], Any),
    (&["allow_trace"], Any),
];

/// The `authorization` block.
pub const AUTHORIZATION: OptionNames = &[
    (&["user", "username"], Text),
    (&["password", "pass"], Text),
    (&["token"], Text),
    (&["timeout"], Seconds),
    (&["users"], Any),
    (&["default_permissions", "default_permission", "permissions"], Any),
    (&["auth_callout", "auth_hook"], Any),
    (&["proxy_required"], Bool),
];

/// The `auth_callout` block.
pub const CALLOUT: OptionNames = &[
    (&["issuer"], Text),
    (&["account", "acc"], Any),
    (&["auth_users", "users"], List),
    (&["xkey", "key"], Text),
    (&["allowed_accounts"], List),
];

/// The `cluster` block.
pub const CLUSTER: OptionNames = &[
    (&["name"], Name),
    (&["listen"], Address),
    (&["port"], Integer),
    (&["host", "net"], Text),
    (&["authorization"], Map),
    (&["routes"], TextList),
    (&["tls"], Map),
    (&["cluster_advertise", "advertise"], Text),
    (&["no_advertise"], Bool),
    (&["connect_retries"], Integer),
    (&["connect_backoff"], Bool),
    (&["permissions"], Map),
    (&["pool_size"], Integer),
    (&["accounts"], Texts),
    (&["compression"], BoolTextOrMap),
    (&["ping_interval"], Duration),
    (&["ping_max"], Integer),
    (&["write_deadline"], Duration),
    (&["write_timeout"], Word(&["default", "close", "retry"])),
];

/// The `gateway` block.
pub const GATEWAY: OptionNames = &[
    (&["name"], Name),
    (&["listen"], Address),
    (&["port"], Integer),
    (&["host", "net"], Text),
    (&["authorization"], Map),
    (&["tls"], Map),
    (&["advertise"], Text),
    (&["connect_retries"], Integer),
    (&["connect_backoff"], Bool),
    (&["gateways"], Maps),
    (&["reject_unknown", "reject_unknown_cluster"], Bool),
    (&["write_deadline"], Duration),
    (&["write_timeout"], Word(&["default", "close", "retry"])),
];

/// The `leafnodes` block.
pub const LEAFNODES: OptionNames = &[
    (&["listen"], Address),
    (&["port"], Integer),
    (&["host", "net"], Text),
    (&["authorization"], Map),
    (&["remotes"], Any),
    (&["reconnect", "reconnect_delay", "reconnect_interval"], Duration),
    (&["dial_timeout"], Duration),
    (&["tls"], Map),
    (&["leafnode_advertise", "advertise"], Text),
    (&["no_advertise"], Bool),
    (&["min_version", "minimum_version"], Text),
    (&["compression"], BoolTextOrMap),
    (&["isolate_leafnode_interest", "isolate"], Bool),
    (&["write_deadline"], Duration),
    (&["write_timeout"], Word(&["default", "close", "retry"])),
];

/// A remote of the `leafnodes` block.
pub const REMOTE: OptionNames = &[
    (&["no_randomize", "dont_randomize"], Bool),
    (&["url", "urls"], Texts),
    (&["account", "local"], Any),
    (&["creds", "credentials"], Text),
    (&["nkey", "seed"], Text),
    (&["tls"], Map),
    (&["hub"], Bool),
    (&["deny_imports", "deny_import"], Texts),
    (&["deny_exports", "deny_export"], Texts),
    (&["ws_compress", "ws_compression", "websocket_compress", "websocket_compression"], Bool),
    (&["ws_no_masking", "websocket_no_masking"], Bool),
    (&["jetstream_cluster_migrate", "js_cluster_migrate"], BoolOrMap),
    (&["isolate_leafnode_interest", "isolate"], Bool),
    (&["request_isolation"], Bool),
    (&["compression"], BoolTextOrMap),
    (&["first_info_timeout"], Duration),
    (&["dial_timeout"], Duration),
    (&["disabled"], Any),
    (&["proxy"], Map),
    (&["ignore_discovered_servers"], Bool),
];

/// The `mqtt` block.
pub const MQTT: OptionNames = &[
    (&["listen"], Address),
    (&["port"], Integer),
    (&["host", "net"], Text),
    (&["tls"], Map),
    (&["authorization", "authentication"], Map),
    (&["no_auth_user"], Any),
    (&["ack_wait", "ackwait"], Duration),
    (&["js_api_timeout", "api_timeout"], Duration),
    (&["max_ack_pending", "max_pending", "max_inflight"], Range(0, 65_535)),
    (&["js_domain"], Text),
    (&["stream_replicas"], Integer),
    (&["consumer_replicas"], Any),
    (&["consumer_memory_storage"], Bool),
    (&["consumer_inactive_threshold", "consumer_auto_cleanup"], Duration),
    (&["reject_qos2_publish"], Bool),
    (&["downgrade_qos2_subscribe"], Bool),
];

/// The `websocket` block.
pub const WEBSOCKET: OptionNames = &[
    (&["listen"], Address),
    (&["port"], Integer),
    (&["host", "net"], Text),
    (&["advertise"], Text),
    (&["no_tls"], Bool),
    (&["tls"], Map),
    (&["same_origin"], Bool),
    (&["allowed_origins", "allowed_origin", "allow_origins", "allow_origin", "origins", "origin"], TextOrList),
    (&["handshake_timeout"], Duration),
    (&["compress", "compression"], Bool),
    (&["authorization", "authentication"], Map),
    (&["jwt_cookie"], Text),
    (&["user_cookie"], Text),
    (&["pass_cookie"], Text),
    (&["token_cookie"], Text),
    (&["no_auth_user"], Any),
    (&["headers"], TextMap),
    (&["ping_interval"], Duration),
];

/// A `tls` block of any listener.
pub const TLS: OptionNames = &[
    (&["cert_file"], Text),
    (&["key_file"], Text),
    (&["ca_file"], Text),
    (&["insecure"], Bool),
    (&["verify"], Bool),
    (&["verify_and_map"], Bool),
    (&["verify_cert_and_check_known_urls"], Bool),
    (&["allow_insecure_cipher_suites"], Bool),
    (&["cipher_suites"], List),
    (&["curve_preferences"], List),
    (&["timeout"], Seconds),
    (&["connection_rate_limit"], Integer),
    (&["pinned_certs"], List),
    (&["cert_store"], Text),
    (&["cert_match_by"], Text),
    (&["cert_match"], Text),
    (&["ca_certs_match"], Texts),
    (&["handshake_first", "first", "immediate"], BoolOrDuration),
    (&["cert_match_skip_invalid"], Bool),
    (&["ocsp_peer"], BoolOrMap),
    (&["certs", "certificates"], Maps),
    (&["min_version"], Word(&["1.2", "1.3"])),
];

/// The checks of client certificates by OCSP.
pub const OCSP_PEER: OptionNames = &[
    (&["verify"], Bool),
    (&["allowed_clockskew"], Seconds),
    (&["ca_timeout"], Seconds),
    (&["cache_ttl_when_next_update_unset"], Seconds),
    (&["warn_only"], Bool),
    (&["unknown_is_good"], Bool),
    (&["allow_when_ca_unreachable"], Bool),
];

/// A certificate of several.
pub const CERTIFICATE: OptionNames = &[(&["cert_file"], Text), (&["key_file"], Text)];

/// A gateway that this one knows.
pub const KNOWN_GATEWAY: OptionNames = &[(&["name"], Text), (&["tls"], Map), (&["url"], Text), (&["urls"], List)];

/// Proxies of clients.
pub const PROXIES: OptionNames = &[(&["trusted"], Maps)];

/// A trusted proxy.
pub const TRUSTED_PROXY: OptionNames = &[(&["key", "public_key"], Text)];

/// The cache of answers by OCSP.
pub const OCSP_CACHE: OptionNames =
    &[(&["type"], Text), (&["local_store"], Text), (&["preserve_revoked"], Bool), (&["save_interval"], Seconds)];

/// Keys that are in a TPM.
pub const TPM: OptionNames = &[
    (&["keys_file"], Text),
    (&["encryption_password"], Text),
    (&["srk_password"], Text),
    (&["pcr"], Integer),
    (&["cipher"], Text),
];

/// The publish or subscribe permissions of a user.
pub const SIDE: OptionNames = &[(&["allow"], Any), (&["deny"], Any)];

/// Where an import comes from.
pub const SOURCE: OptionNames = &[(&["account"], Any), (&["subject"], Any)];

/// A destination of a mapping.
pub const DESTINATION: OptionNames = &[(&["destination", "dest"], Any), (&["weight"], Any), (&["cluster"], Any)];

/// The `authorization` block of a leaf node listener.
pub const LEAF_AUTHORIZATION: OptionNames = &[
    (&["user", "username"], Text),
    (&["password", "pass"], Text),
    (&["nkey"], Text),
    (&["account"], Text),
    (&["timeout"], Seconds),
    (&["users"], Any),
    (&["proxy_required"], Bool),
];

/// The `authorization` block of the WebSocket and MQTT listeners.
pub const CLIENT_AUTHORIZATION: OptionNames = &[
    (&["user", "username"], Text),
    (&["password", "pass"], Text),
    (&["token"], Any),
    (&["timeout"], Seconds),
    (&["proxy_required"], Bool),
];

/// What JetStream limits for all accounts together.
pub const JETSTREAM_LIMITS: OptionNames = &[
    (&["max_ack_pending"], Integer),
    (&["max_ha_assets"], Integer),
    (&["max_request_batch"], Integer),
    (&["duplicate_window"], DurationText),
    (&["batch"], Map),
];

/// The batches among them.
pub const JETSTREAM_BATCH: OptionNames = &[
    (&["max_inflight_per_stream"], Integer),
    (&["max_inflight_total"], Integer),
    (&["max_msgs"], Integer),
    (&["timeout"], DurationText),
];

/// A user of a leaf node listener.
pub const LISTENER_USER: OptionNames =
    &[(&["user", "username"], Text), (&["password", "pass"], Text), (&["account"], Text), (&["proxy_required"], Bool)];

/// Compression of a listener or a remote.
pub const COMPRESSION: OptionNames = &[(&["mode"], Text), (&["rtt_thresholds", "thresholds", "rtts", "rtt"], Any)];

/// The proxy of a leaf node remote.
pub const PROXY: OptionNames =
    &[(&["url"], Any), (&["username", "user"], Text), (&["password", "pass"], Text), (&["timeout"], Duration)];

/// Message trace of an account.
pub const MSG_TRACE: OptionNames = &[(&["dest"], Any), (&["sampling"], Any)];

/// Latency of a service.
pub const LATENCY: OptionNames = &[(&["sampling"], Any), (&["subject"], Any)];

//! The options that nats-server accepts, each with all its names, the canonical
//! one first. It rejects any other.

use super::options::OptionNames;

/// Top level of the configuration.
pub const TOP: OptionNames = &[
    &["listen"],
    &["client_advertise"],
    &["port"],
    &["server_name"],
    &["host", "net"],
    &["debug"],
    &["trace"],
    &["trace_verbose"],
    &["trace_headers"],
    &["logtime"],
    &["logtime_utc"],
    &["mappings", "maps"],
    &["disable_sublist_cache", "no_sublist_cache"],
    &["accounts"],
    &["default_sentinel"],
    &["authorization"],
    &["http"],
    &["https"],
    &["http_port", "monitor_port"],
    &["https_port"],
    &["http_base_path"],
    &["cluster"],
    &["gateway"],
    &["leafnodes", "leaf"],
    &["store_dir", "storedir"],
    &["jetstream"],
    &["log_file", "logfile"],
    &["log_size_limit", "logfile_size_limit"],
    &["log_max_num", "logfile_max_num"],
    &["syslog"],
    &["remote_syslog"],
    &["pid_file", "pidfile"],
    &["ports_file_dir"],
    &["prof_port"],
    &["prof_block_rate"],
    &["max_control_line"],
    &["max_payload"],
    &["max_pending"],
    &["proxy_protocol"],
    &["max_connections", "max_conn"],
    &["max_traced_msg_len"],
    &["max_subscriptions", "max_subs"],
    &["max_sub_tokens", "max_subscription_tokens"],
    &["ping_interval"],
    &["ping_max"],
    &["tls"],
    &["ocsp"],
    &["allow_non_tls"],
    &["write_deadline"],
    &["write_timeout"],
    &["lame_duck_duration"],
    &["lame_duck_grace_period"],
    &["operator", "operators", "roots", "root", "root_operators", "root_operator"],
    &["resolver", "account_resolver", "accounts_resolver"],
    &["resolver_tls"],
    &["resolver_preload"],
    &["resolver_pinned_accounts"],
    &["no_auth_user"],
    &["system_account", "system"],
    &["no_system_account", "no_system", "no_sys_acc"],
    &["no_header_support"],
    &["trusted", "trusted_keys"],
    &["connect_error_reports"],
    &["reconnect_error_reports"],
    &["websocket", "ws"],
    &["mqtt"],
    &["server_tags"],
    &["server_metadata"],
    &["feature_flags"],
    &["default_js_domain"],
    &["ocsp_cache"],
    &["no_fast_producer_stall"],
    &["max_closed_clients"],
    &["proxies"],
];

/// An account.
pub const ACCOUNT: OptionNames = &[
    &["nkey"],
    &["imports"],
    &["exports"],
    &["jetstream"],
    &["users"],
    &["default_permissions"],
    &["mappings", "maps"],
    &["limits"],
    &["msg_trace", "trace_dest"],
];

/// A user.
pub const USER: OptionNames = &[
    &["nkey"],
    &["user", "username"],
    &["password", "pass"],
    &["permissions", "permission", "authorization"],
    &["allowed_connection_types", "connection_types", "clients"],
    &["proxy_required"],
];

/// The permissions of a user.
pub const PERMISSIONS: OptionNames =
    &[&["publish", "pub", "import"], &["subscribe", "sub", "export"], &["allow_responses", "publish_allow_responses"]];

/// `allow_responses`.
pub const RESPONSES: OptionNames =
    &[&["max", "max_msgs", "max_messages", "max_responses"], &["expires", "expiration", "ttl"]];

/// Limits of an account.
pub const LIMITS: OptionNames = &[
    &["max_connections", "max_conn"],
    &["max_subscriptions", "max_subs"],
    &["max_payload", "max_pay"],
    &["max_leafnodes", "max_leafs"],
];

/// JetStream of an account.
pub const ACCOUNT_JETSTREAM: OptionNames = &[
    &["max_memory", "max_mem", "mem", "memory"],
    &["max_store", "max_file", "max_disk", "store", "disk"],
    &["max_streams", "streams"],
    &["max_consumers", "consumers"],
    &["max_bytes_required", "max_stream_bytes", "max_bytes"],
    &["mem_max_stream_bytes", "memory_max_stream_bytes"],
    &["disk_max_stream_bytes", "store_max_stream_bytes"],
    &["max_ack_pending"],
    &["cluster_traffic"],
];

/// JetStream of the server.
pub const SERVER_JETSTREAM: OptionNames = &[
    &["strict"],
    &["store_dir", "store", "storedir"],
    &["sync_interval", "sync"],
    &["max_memory_store", "max_mem_store", "max_mem"],
    &["max_file_store", "max_file"],
    &["domain"],
    &["enabled", "enable"],
    &["key", "ek", "encryption_key"],
    &["prev_key", "prev_ek", "prev_encryption_key"],
    &["cipher"],
    &["extension_hint"],
    &["limits"],
    &["tpm"],
    &["unique_tag"],
    &["max_outstanding_catchup"],
    &["max_buffered_size"],
    &["max_buffered_msgs"],
    &["request_queue_limit"],
    &["info_queue_limit"],
    &["meta_compact"],
    &["meta_compact_size"],
    &["meta_compact_sync"],
    &["max_concurrent_io"],
];

/// An export.
pub const EXPORT: OptionNames = &[
    &["stream"],
    &["service"],
    &["accounts"],
    &["response_type", "response"],
    &["threshold", "response_threshold", "response_max_time", "response_time"],
    &["latency"],
    &["account_token_position"],
    &["allow_trace"],
];

/// An import.
pub const IMPORT: OptionNames = &[&["stream"], &["service"], &["prefix"], &["to"], &["share"], &["allow_trace"]];

/// The `authorization` block.
pub const AUTHORIZATION: OptionNames = &[
    &["user", "username"],
    &["password", "pass"],
    &["token"],
    &["timeout"],
    &["users"],
    &["default_permissions", "default_permission", "permissions"],
    &["auth_callout", "auth_hook"],
    &["proxy_required"],
];

/// The `auth_callout` block.
pub const CALLOUT: OptionNames =
    &[&["issuer"], &["account", "acc"], &["auth_users", "users"], &["xkey", "key"], &["allowed_accounts"]];

/// The `cluster` block.
pub const CLUSTER: OptionNames = &[
    &["name"],
    &["listen"],
    &["port"],
    &["host", "net"],
    &["authorization"],
    &["routes"],
    &["tls"],
    &["cluster_advertise", "advertise"],
    &["no_advertise"],
    &["connect_retries"],
    &["connect_backoff"],
    &["permissions"],
    &["pool_size"],
    &["accounts"],
    &["compression"],
    &["ping_interval"],
    &["ping_max"],
    &["write_deadline"],
    &["write_timeout"],
];

/// The `gateway` block.
pub const GATEWAY: OptionNames = &[
    &["name"],
    &["listen"],
    &["port"],
    &["host", "net"],
    &["authorization"],
    &["tls"],
    &["advertise"],
    &["connect_retries"],
    &["connect_backoff"],
    &["gateways"],
    &["reject_unknown", "reject_unknown_cluster"],
    &["write_deadline"],
    &["write_timeout"],
];

/// The `leafnodes` block.
pub const LEAFNODES: OptionNames = &[
    &["listen"],
    &["port"],
    &["host", "net"],
    &["authorization"],
    &["remotes"],
    &["reconnect", "reconnect_delay", "reconnect_interval"],
    &["dial_timeout"],
    &["tls"],
    &["leafnode_advertise", "advertise"],
    &["no_advertise"],
    &["min_version", "minimum_version"],
    &["compression"],
    &["isolate_leafnode_interest", "isolate"],
    &["write_deadline"],
    &["write_timeout"],
];

/// A remote of the `leafnodes` block.
pub const REMOTE: OptionNames = &[
    &["no_randomize", "dont_randomize"],
    &["url", "urls"],
    &["account", "local"],
    &["creds", "credentials"],
    &["nkey", "seed"],
    &["tls"],
    &["hub"],
    &["deny_imports", "deny_import"],
    &["deny_exports", "deny_export"],
    &["ws_compress", "ws_compression", "websocket_compress", "websocket_compression"],
    &["ws_no_masking", "websocket_no_masking"],
    &["jetstream_cluster_migrate", "js_cluster_migrate"],
    &["isolate_leafnode_interest", "isolate"],
    &["request_isolation"],
    &["compression"],
    &["first_info_timeout"],
    &["dial_timeout"],
    &["disabled"],
    &["proxy"],
    &["ignore_discovered_servers"],
];

/// The `mqtt` block.
pub const MQTT: OptionNames = &[
    &["listen"],
    &["port"],
    &["host", "net"],
    &["tls"],
    &["authorization", "authentication"],
    &["no_auth_user"],
    &["ack_wait", "ackwait"],
    &["js_api_timeout", "api_timeout"],
    &["max_ack_pending", "max_pending", "max_inflight"],
    &["js_domain"],
    &["stream_replicas"],
    &["consumer_replicas"],
    &["consumer_memory_storage"],
    &["consumer_inactive_threshold", "consumer_auto_cleanup"],
    &["reject_qos2_publish"],
    &["downgrade_qos2_subscribe"],
];

/// The `websocket` block.
pub const WEBSOCKET: OptionNames = &[
    &["listen"],
    &["port"],
    &["host", "net"],
    &["advertise"],
    &["no_tls"],
    &["tls"],
    &["same_origin"],
    &["allowed_origins", "allowed_origin", "allow_origins", "allow_origin", "origins", "origin"],
    &["handshake_timeout"],
    &["compress", "compression"],
    &["authorization", "authentication"],
    &["jwt_cookie"],
    &["user_cookie"],
    &["pass_cookie"],
    &["token_cookie"],
    &["no_auth_user"],
    &["headers"],
    &["ping_interval"],
];

/// A `tls` block of any listener.
pub const TLS: OptionNames = &[
    &["cert_file"],
    &["key_file"],
    &["ca_file"],
    &["insecure"],
    &["verify"],
    &["verify_and_map"],
    &["verify_cert_and_check_known_urls"],
    &["allow_insecure_cipher_suites"],
    &["cipher_suites"],
    &["curve_preferences"],
    &["timeout"],
    &["connection_rate_limit"],
    &["pinned_certs"],
    &["cert_store"],
    &["cert_match_by"],
    &["cert_match"],
    &["ca_certs_match"],
    &["handshake_first", "first", "immediate"],
    &["cert_match_skip_invalid"],
    &["ocsp_peer"],
    &["certs", "certificates"],
    &["min_version"],
];

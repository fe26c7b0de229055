//! What a user gets to see for each mistake. Every case is a registry that
//! must be refused (or warned about); what is printed is kept as a snapshot.
//! Together the cases show every rule there is.

use std::collections::BTreeSet;

use crate::support::Project;

/// A registry without a mistake.
const GOOD: &str = r#"version = 1

[server]
name = "dev"

[server.jetstream]
memory = "64MiB"
storage = "1GiB"

[keys]
root = "development"

[system]
account = "SYS"

[[system.user]]
name = "sys_admin"

[[tenant]]
name = "ACME"

[tenant.jetstream]
storage = "512MiB"

[[tenant.user]]
name = "app"

[[tenant]]
name = "GLOBEX"

[[tenant.user]]
name = "app"
"#;

enum Change {
    /// The whole registry.
    Whole(&'static str),
    /// The good one with a text replaced.
    Replace(&'static str, &'static str),
    /// The good one with more at its end, which is inside GLOBEX.
    Add(&'static str),
}
use Change::{Add, Replace, Whole};

const CASES: &[(&str, Change)] = &[
    // ------------------------------------------------------------- the file
    ("empty_file", Whole("")),
    ("only_a_version", Whole("version = 1\n")),
    ("broken_toml", Whole("version = 1\n[server\nname = \"dev\"\n[[tenant]\nname = ACME\n")),
    ("unterminated_string", Replace("name = \"ACME\"", "name = \"ACME")),
    ("duplicate_key", Replace("name = \"dev\"", "name = \"dev\"\nname = \"prod\"")),
    ("duplicate_table", Add("[server]\nname = \"again\"\n")),
    ("a_later_version", Replace("version = 1", "version = 2")),
    ("version_as_text", Replace("version = 1", "version = \"1\"")),
    ("unknown_table", Add("[servers]\nname = \"x\"\n")),
    ("unknown_key_with_suggestion", Replace("storage = \"512MiB\"", "storrage = \"512MiB\"")),
    ("unknown_key_without_suggestion", Replace("name = \"dev\"", "name = \"dev\"\nfrobnicate = true")),
    ("tenant_with_single_brackets", Whole("version = 1\n[tenant]\nname = \"ACME\"\n")),
    ("include_that_is_not_there", Replace("version = 1", "version = 1\ninclude = [\"tenants.d/acme.toml\"]")),
    ("include_that_matches_nothing", Replace("version = 1", "version = 1\ninclude = [\"tenants.d/*.toml\"]")),
    (
        "public_key_of_another_user",
        Add(r#"
[[tenant.user]]
name = "own"
public_key = "UCFHWLYDLMVQXOYBXYR6JUEUA4QQ27FXLXHWWTUU6XRMJFAPDLUCMB7P"
"#),
    ),
    ("retired_tenant", Replace("version = 1", "version = 1\nretired = [{ tenant = \"ACME\" }]")),
    (
        "retired_user",
        Replace(
            "version = 1",
            "version = 1\nretired = [{ tenant = \"ACME\", user = \"app\", generation = 4 }, { tenant = \"SYS\", user = \"sys_admin\" }]",
        ),
    ),
    ("list_as_text", Add("[[share]]\nfrom = \"ACME\"\nto = \"GLOBEX\"\nstream = \"ACME.x\"\n")),
    ("number_as_text", Replace("version = 1", "version = \"1\"")),
    ("user_before_its_tenant", Whole("version = 1\n[[tenant.user]]\nname = \"app\"\n[[tenant]]\nname = \"ACME\"\n")),
    ("share_of_the_system_account", Add("[[share]]\nfrom = \"SYS\"\nto = [\"ACME\"]\nstream = \"SYS.x\"\n")),
    ("include_as_text", Replace("version = 1", "version = 1\ninclude = \"tenants.d/*.toml\"")),
    // ----------------------------------------------------------- the server
    ("size_without_unit", Replace("storage = \"1GiB\"", "storage = \"1024\"")),
    ("size_as_number", Replace("storage = \"1GiB\"", "storage = 1073741824")),
    ("size_with_nonsense", Replace("storage = \"1GiB\"", "storage = \"lots\"")),
    ("size_with_m", Replace("storage = \"1GiB\"", "storage = \"512M\"")),
    ("duration_without_unit", Replace("name = \"dev\"", "write_deadline = \"10\"")),
    ("address_without_port", Replace("name = \"dev\"", "client = \"127.0.0.1\"")),
    ("address_by_name", Replace("name = \"dev\"", "client = \"nats.example.com:4222\"")),
    ("development_key_in_the_open", Replace("name = \"dev\"", "client = \"0.0.0.0:4222\"")),
    ("development_key_behind_a_public_url", Replace("name = \"dev\"", "url = \"nats://nats.example.com:4222\"")),
    ("monitoring_in_the_open", Replace("name = \"dev\"", "monitor = \"0.0.0.0:8222\"")),
    ("one_port_twice", Replace("name = \"dev\"", "client = \"127.0.0.1:4222\"\nmonitor = \"127.0.0.1:4222\"")),
    ("payload_that_the_server_truncates", Replace("name = \"dev\"", "max_payload = \"4GiB\"")),
    ("payload_that_is_slow", Replace("name = \"dev\"", "max_payload = \"16MiB\"")),
    ("pending_below_payload", Replace("name = \"dev\"", "max_pending = \"1KiB\"")),
    ("connections_that_the_server_truncates", Replace("name = \"dev\"", "max_connections = 4294967296")),
    ("no_connections", Replace("name = \"dev\"", "max_connections = 0")),
    ("image_without_version", Replace("name = \"dev\"", "image = \"nats\"")),
    ("image_with_a_command", Replace("name = \"dev\"", "image = \"nats:2.15 && rm -rf /\"")),
    ("url_with_a_password", Replace("name = \"dev\"", "url = \"nats://me:secret@localhost:4222\"")),
    ("log_level", Replace("[server.jetstream]", "[server.log]\nlevel = \"verbose\"\n\n[server.jetstream]")),
    ("root_key_in_the_registry", Replace("root = \"development\"", "root = \"s3cr3t\"")),
    ("operator_mode", Add("[auth]\nmode = \"operator\"\n")),
    ("auth_mode_misspelt", Add("[auth]\nmode = \"statik\"\n")),
    ("bcrypt_cost", Add("[auth]\nbcrypt_cost = 31\n")),
    // ------------------------------------------------------------- accounts
    ("no_tenants", Whole("version = 1\n[system]\naccount = \"SYS\"\n[[system.user]]\nname = \"a\"\n")),
    ("system_without_users", Replace("[[system.user]]\nname = \"sys_admin\"\n", "")),
    ("tenant_without_name", Replace("name = \"ACME\"\n", "")),
    (
        "tenant_without_users",
        Replace("[[tenant.user]]\nname = \"app\"\n\n[[tenant]]\nname = \"GLOBEX\"", "[[tenant]]\nname = \"GLOBEX\""),
    ),
    ("tenant_named_like_a_path", Replace("\"ACME\"", "\"../../evil\"")),
    ("tenant_named_like_a_subject", Replace("\"ACME\"", "\"ac.me\"")),
    ("tenant_named_dollar_g", Replace("\"ACME\"", "\"$G\"")),
    ("tenant_named_like_an_inbox", Replace("\"ACME\"", "\"_INBOX\"")),
    ("tenant_named_like_the_system_account", Replace("\"ACME\"", "\"sys\"")),
    ("tenant_twice", Replace("\"GLOBEX\"", "\"ACME\"")),
    ("tenant_twice_in_letter_case", Replace("\"GLOBEX\"", "\"Acme\"")),
    ("payload_above_the_servers", Add("[tenant.limits]\npayload = \"2MiB\"\n")),
    ("connections_above_the_servers", Add("[tenant.limits]\nconnections = 5000\n")),
    ("connections_above_the_servers_together", Replace("name = \"dev\"", "max_connections = 150")),
    // ------------------------------------------------------------- subjects
    ("subjects_that_overlap", Replace("\"GLOBEX\"", "\"GLOBEX\"\nsubjects = [\"ACME.orders\"]")),
    ("subjects_that_cross", Replace("name = \"ACME\"", "name = \"ACME\"\nsubjects = [\"a.>\", \"*.b\"]")),
    ("subjects_of_two_that_cross", Replace("\"GLOBEX\"", "\"GLOBEX\"\nsubjects = [\"*.b\"]")),
    (
        "subjects_of_the_server",
        Replace(
            "name = \"ACME\"",
            "name = \"ACME\"\nsubjects = [\"$SYS.>\", \"$JS.API.>\", \"$KV.x\", \"$O.>\", \"$G\", \"_INBOX.>\", \">\"]",
        ),
    ),
    (
        "subjects_malformed",
        Replace("name = \"ACME\"", "name = \"ACME\"\nsubjects = [\"a..b\", \"foo*\", \"a.>.b\", \"a b\", \"\"]"),
    ),
    ("no_subjects", Replace("name = \"ACME\"", "name = \"ACME\"\nsubjects = []")),
    // ---------------------------------------------------------------- users
    ("user_twice", Add("[[tenant.user]]\nname = \"APP\"\n")),
    (
        "password_user_in_two_tenants",
        Add(
            "auth = \"password\"\n[[tenant]]\nname = \"INITECH\"\n[[tenant.user]]\nname = \"app\"\nauth = \"password\"\n",
        ),
    ),
    (
        "password_user_named_like_a_system_user",
        Add(
            "[[tenant.user]]\nname = \"root\"\nauth = \"password\"\n[[system.user]]\nname = \"root\"\nauth = \"password\"\n",
        ),
    ),
    ("role_misspelt", Add("role = \"publsher\"\n")),
    ("role_unknown", Add("role = \"wizard\"\n")),
    ("creds_in_static_mode", Add("auth = \"creds\"\n")),
    ("auth_misspelt", Add("auth = \"pasword\"\n")),
    ("password_in_the_registry", Add("password = \"secret\"\n")),
    ("password_env_without_password", Add("password_env = \"ACME_PASSWORD\"\n")),
    ("password_env_with_dollar", Add("auth = \"password\"\npassword_env = \"$ACME_PASSWORD\"\n")),
    (
        "password_env_of_two_users",
        Add(
            "auth = \"password\"\npassword_env = \"PW\"\n[[tenant.user]]\nname = \"two\"\nauth = \"password\"\npassword_env = \"PW\"\n",
        ),
    ),
    ("password_env_not_set", Add("auth = \"password\"\npassword_env = \"TENANTRY_TEST_NOT_SET\"\n")),
    (
        "payload_below_our_own_requests",
        Add(
            "[[tenant]]\nname = \"TINY\"\n[tenant.limits]\npayload = \"300B\"\n[tenant.jetstream]\nstorage = \"1MiB\"\n[[tenant.user]]\nname = \"u\"\n[[tenant.bucket]]\nname = \"b\"\n",
        ),
    ),
    ("public_key_that_is_a_seed", Add("public_key = \"SUAKNCWQOPEJXDO5F72BRTMIOSVN2TW25IFUL2BQITDVOKIJCJBJ242O3Q\"\n")),
    ("public_key_with_a_typo", Add("public_key = \"UDIECAWC3P37RZ2N75V7DQCSYWLVURVP3AK46EUYVRC2FGM7T6E6HNMX\"\n")),
    (
        "public_key_and_password",
        Add(
            "auth = \"password\"\npublic_key = \"UDIECAWC3P37RZ2N75V7DQCSYWLVURVP3AK46EUYVRC2FGM7T6E6HNMS\"\ngeneration = 2\n",
        ),
    ),
    (
        "public_key_of_two_users",
        Add(
            "public_key = \"UDIECAWC3P37RZ2N75V7DQCSYWLVURVP3AK46EUYVRC2FGM7T6E6HNMS\"\n[[tenant.user]]\nname = \"two\"\npublic_key = \"UDIECAWC3P37RZ2N75V7DQCSYWLVURVP3AK46EUYVRC2FGM7T6E6HNMS\"\n",
        ),
    ),
    ("generation_zero", Add("generation = 0\n")),
    // ---------------------------------------------------------------- roles
    ("role_that_is_built_in", Add("[role.app]\npublish = [\"{subject}\"]\n")),
    ("role_that_allows_nothing", Add("[role.nobody]\n")),
    ("role_that_lists_more_than_it_says", Add("[role.r]\nsubscribe = [\"{tenant}.a.*\", \"{tenant}.a.b.c\"]\n")),
    ("role_with_a_bad_name", Add("[role.\"a b\"]\npublish = [\"{subject}\"]\n")),
    (
        "role_patterns",
        Add(
            "[role.wide]\npublish = [\">\", \"$SYS.REQ.>\", \"_INBOX.>\", \"_R_.>\", \"{tennant}.x\", \"x.{subject}\"]\n",
        ),
    ),
    ("role_outside_the_tenants_subjects", Add("role = \"spy\"\n[role.spy]\nsubscribe = [\"ACME.>\"]\n")),
    // ------------------------------------------------------------ jetstream
    ("jetstream_without_the_servers", Replace("[server.jetstream]\nmemory = \"64MiB\"\nstorage = \"1GiB\"\n", "")),
    ("jetstream_without_room", Replace("storage = \"512MiB\"", "streams = 5")),
    ("storage_oversubscribed", Replace("storage = \"512MiB\"", "storage = \"2GiB\"")),
    ("memory_oversubscribed", Replace("storage = \"512MiB\"", "memory = \"65MiB\"")),
    ("stream_without_jetstream", Add("[[tenant.stream]]\nname = \"S\"\nsubjects = [\"GLOBEX.s\"]\n")),
    (
        "stream_outside_the_tenants_subjects",
        Replace(
            "[[tenant.user]]\nname = \"app\"\n\n",
            "[[tenant.user]]\nname = \"app\"\n[[tenant.stream]]\nname = \"S\"\nsubjects = [\"GLOBEX.>\"]\n\n",
        ),
    ),
    (
        "stream_captures_nothing",
        Replace(
            "[[tenant.user]]\nname = \"app\"\n\n",
            "[[tenant.user]]\nname = \"app\"\n[[tenant.stream]]\nname = \"S\"\n\n",
        ),
    ),
    (
        "streams_overlap",
        Replace(
            "[[tenant.user]]\nname = \"app\"\n\n",
            "[[tenant.user]]\nname = \"app\"\n[[tenant.stream]]\nname = \"EVENTS\"\nsubjects = [\"ACME.events.>\"]\n[[tenant.stream]]\nname = \"GRAPH\"\nsubjects = [\"ACME.events.graph.>\"]\n\n",
        ),
    ),
    (
        "stream_names",
        Replace(
            "[[tenant.user]]\nname = \"app\"\n\n",
            "[[tenant.user]]\nname = \"app\"\n[[tenant.stream]]\nname = \"KV_x\"\nsubjects = [\"ACME.a\"]\n[[tenant.stream]]\nname = \"S\"\nsubjects = [\"ACME.b\"]\n[[tenant.stream]]\nname = \"s\"\nsubjects = [\"ACME.c\"]\n\n",
        ),
    ),
    (
        "streams_too_many",
        Replace(
            "storage = \"512MiB\"",
            "storage = \"512MiB\"\nstreams = 1\n[[tenant.bucket]]\nname = \"a\"\n[[tenant.bucket]]\nname = \"b\"",
        ),
    ),
    (
        "streams_too_large",
        Replace(
            "[[tenant.user]]\nname = \"app\"\n\n",
            "[[tenant.user]]\nname = \"app\"\n[[tenant.stream]]\nname = \"S\"\nsubjects = [\"ACME.s\"]\nmax_bytes = \"1GiB\"\n\n",
        ),
    ),
    (
        "stream_in_memory_that_is_not_there",
        Replace(
            "[[tenant.user]]\nname = \"app\"\n\n",
            "[[tenant.user]]\nname = \"app\"\n[[tenant.stream]]\nname = \"S\"\nsubjects = [\"ACME.s\"]\nstorage = \"memory\"\n\n",
        ),
    ),
    (
        "stream_words",
        Replace(
            "[[tenant.user]]\nname = \"app\"\n\n",
            "[[tenant.user]]\nname = \"app\"\n[[tenant.stream]]\nname = \"S\"\nsubjects = [\"ACME.s\"]\nretention = \"work-queue\"\nstorage = \"disk\"\ndiscard = \"oldest\"\nreplicas = 7\nmax_age = \"a while\"\n\n",
        ),
    ),
    (
        "consumers",
        Replace(
            "storage = \"512MiB\"",
            "storage = \"512MiB\"\nconsumers = 1\n[[tenant.stream]]\nname = \"S\"\nsubjects = [\"ACME.s.>\"]\n[[tenant.stream.consumer]]\nname = \"one\"\nfilter = \"ACME.t\"\n[[tenant.stream.consumer]]\nname = \"ONE\"",
        ),
    ),
    (
        "bucket_history",
        Replace("storage = \"512MiB\"", "storage = \"512MiB\"\n[[tenant.bucket]]\nname = \"a.b\"\nhistory = 100"),
    ),
    ("old_image", Replace("name = \"dev\"", "name = \"dev\"\nimage = \"nats:2.10-alpine\"")),
    (
        "every_interface",
        Whole(
            "version = 1\n[server]\nclient = \"0.0.0.0:4222\"\n[keys]\nroot = \"file:.tenantry/root.key\"\n[[tenant]]\nname = \"A\"\nusers = 5\n[[tenant.user]]\nname = \"app\"\n",
        ),
    ),
    (
        "placement_on_one_server",
        Replace(
            "storage = \"512MiB\"",
            "storage = \"512MiB\"\n[[tenant.bucket]]\nname = \"b\"\nplacement = { cluster = \"east\" }",
        ),
    ),
    (
        "deep_overlap",
        Replace(
            "name = \"GLOBEX\"",
            "name = \"GLOBEX\"\nsubjects = [\"org.team.globex.>\"]\n[[tenant.user]]\nname = \"app\"\n[[tenant]]\nname = \"OTHER\"\nsubjects = [\"org.team.>\"]",
        ),
    ),
    ("tenants_key_below_a_user", Add("subjects = [\"G.>\"]\n")),
    ("unclosed_list", Replace("name = \"GLOBEX\"", "name = \"GLOBEX\"\nsubjects = [\"G.>\", \"H.>\"")),
    ("second_limits", Add("[tenant.limits]\nconnections = 5\n[tenant.limits]\npayload = \"1KiB\"\n")),
    ("colon", Replace("name = \"GLOBEX\"", "name: \"GLOBEX\"")),
    ("no_quotes", Replace("name = \"GLOBEX\"", "name = GLOBEX")),
    ("curly_quotes", Replace("name = \"GLOBEX\"", "name = \u{201c}GLOBEX\u{201d}")),
    ("trailing_comma", Replace("name = \"GLOBEX\"", "name = \"GLOBEX\",")),
    ("slashes", Add("// the end\n")),
    ("yaml", Whole("version: 1\ntenants:\n  - name: ACME\n")),
    ("json", Whole("{ \"version\": 1, \"tenant\": [] }\n")),
    ("include_of_nothing", Whole("version = 1\ninclude = [\"tenants.d/*.toml\"]\n")),
    ("user_of_no_tenant", Add("[[user]]\nname = \"other\"\n")),
    ("limits_of_no_tenant", Add("[limits]\nconnections = 5\n")),
    (
        "dotted_and_table",
        Replace("name = \"GLOBEX\"", "name = \"GLOBEX\"\nlimits.connections = 5\n[tenant.limits]\npayload = \"1KiB\""),
    ),
    // --------------------------------------------------------------- shares
    ("share_to_nobody", Add("[[share]]\nfrom = \"ACME\"\nto = []\nstream = \"ACME.x\"\n")),
    ("share_to_a_stranger", Add("[[share]]\nfrom = \"ACME\"\nto = [\"GLOBXE\", \"NOBODY\"]\nstream = \"ACME.x\"\n")),
    ("share_from_a_stranger", Add("[[share]]\nfrom = \"NOBODY\"\nto = [\"GLOBEX\"]\nstream = \"NOBODY.x\"\n")),
    (
        "share_with_oneself",
        Add("[[share]]\nfrom = \"ACME\"\nto = [\"ACME\", \"GLOBEX\", \"GLOBEX\"]\nstream = \"ACME.x\"\n"),
    ),
    ("share_of_nothing", Add("[[share]]\nfrom = \"ACME\"\nto = [\"GLOBEX\"]\n")),
    (
        "share_of_two_things",
        Add("[[share]]\nfrom = \"ACME\"\nto = [\"GLOBEX\"]\nstream = \"ACME.x\"\nservice = \"ACME.y\"\n"),
    ),
    (
        "share_of_anothers_subjects",
        Add(
            "[[share]]\nfrom = \"ACME\"\nto = [\"GLOBEX\"]\nstream = \"GLOBEX.x\"\n[[share]]\nfrom = \"GLOBEX\"\nto = [\"ACME\"]\nservice = \"*.>\"\n",
        ),
    ),
    (
        "share_twice",
        Add(
            "[[share]]\nfrom = \"ACME\"\nto = [\"GLOBEX\"]\nstream = \"ACME.x.>\"\n[[share]]\nfrom = \"ACME\"\nto = [\"GLOBEX\"]\nstream = \"ACME.x.y\"\n",
        ),
    ),
    (
        "streams_that_take_from_each_other",
        Replace(
            "storage = \"512MiB\"",
            "storage = \"512MiB\"\n[[tenant.stream]]\nname = \"S\"\nmirror = { name = \"T\", opt_start_time = \"yesterday\" }\n[[tenant.stream]]\nname = \"T\"\n[[tenant.stream.source]]\nname = \"S\"\n[[tenant.stream.source]]\nname = \"SS\"",
        ),
    ),
    (
        "stream_of_what_another_shares",
        Add(
            "[tenant.jetstream]\nstorage = \"512MiB\"\n[[tenant.stream]]\nname = \"S\"\nsubjects = [\"ACME.x.>\"]\n[[share]]\nfrom = \"ACME\"\nto = [\"GLOBEX\"]\nstream = \"ACME.x.>\"\n",
        ),
    ),
    (
        "stream_keys_that_do_not_agree",
        Replace(
            "storage = \"512MiB\"",
            "storage = \"512MiB\"\n[[tenant.stream]]\nname = \"S\"\nsubjects = [\"ACME.s\"]\nreplicas = 3\ndeny_purge = true\nallow_rollup_hdrs = true\nmax_age = \"1m\"\nduplicate_window = \"2m\"\ndiscard_new_per_subject = true\nmirror = { name = \"T\", filter = \"ACME.t\", subject_transforms = [{ dest = \"GLOBEX.x\" }] }\nrepublish = { dest = \"GLOBEX.>\" }\nsubject_transform = { dest = \"OTHER.{{wildcard(1)}}\" }\n[[tenant.stream]]\nname = \"T\"\nsubjects = [\"ACME.t\"]",
        ),
    ),
    (
        "consumer_keys_that_do_not_agree",
        Replace(
            "storage = \"512MiB\"",
            "storage = \"512MiB\"\n[[tenant.stream]]\nname = \"S\"\nsubjects = [\"ACME.s.>\"]\nretention = \"workqueue\"\n[[tenant.stream.consumer]]\nname = \"a\"\ndeliver_group = \"g\"\nflow_control = true\nack_policy = \"none\"\nmax_ack_pending = 50000\ndeliver_policy = \"by_start_time\"\n[[tenant.stream.consumer]]\nname = \"b\"\nfilter = \"ACME.s.x\"\nfilters = [\"ACME.t\"]\ndeliver_subject = \"GLOBEX.d\"\nmax_waiting = 5\npriority_groups = [\"a b\"]\nbackoff = [\"1s\", \"2s\"]\nmax_deliver = 1\nack_wait = \"5s\"\nopt_start_seq = 3\nsample_freq = \"500\"",
        ),
    ),
    (
        "copies_of_streams",
        Replace(
            "storage = \"512MiB\"",
            "storage = \"512MiB\"\nconsumers = 1\n[[tenant.stream]]\nname = \"S\"\nsubjects = [\"ACME.s.>\"]\n[[tenant.stream.consumer]]\nname = \"ACME_to_GLOBEX\"\n[[tenant.stream]]\nname = \"Q\"\nsubjects = [\"ACME.q.>\"]\nretention = \"workqueue\"\n[[tenant.stream]]\nname = \"I\"\nsubjects = [\"ACME.i.>\"]\nretention = \"interest\"\n[[tenant.stream]]\nname = \"C1\"\nmirror = { name = \"T\", from = \"GLOBEX\" }\n[[tenant.stream]]\nname = \"C2\"\n[[tenant.stream.source]]\nname = \"T\"\nfrom = \"GLOBEX\"\nfilter = \"GLOBEX.t\"\n[[tenant.stream.source]]\nname = \"S\"\nfrom = \"ACME\"\n[[share]]\nfrom = \"ACME\"\nto = [\"GLOBEX\"]\njetstream = \"S\"\nfilter = \"ACME.other\"\n[[share]]\nfrom = \"ACME\"\nto = [\"GLOBEX\"]\njetstream = \"S\"\n[[share]]\nfrom = \"ACME\"\nto = [\"GLOBEX\"]\njetstream = \"Q\"\n[[share]]\nfrom = \"ACME\"\nto = [\"GLOBEX\"]\njetstream = \"I\"\n[[share]]\nfrom = \"ACME\"\nto = [\"GLOBEX\"]\njetstream = \"SS\"\nservice = \"ACME.x\"\n[[share]]\nfrom = \"ACME\"\nto = [\"GLOBEX\"]\nstream = \"ACME.y\"\nfilter = \"ACME.y\"",
        ),
    ),
    (
        "messages_of_others_that_purge",
        Add(
            "[tenant.jetstream]\nstorage = \"64MiB\"\n[[tenant.stream]]\nname = \"NEWS\"\nsubjects = [\"ACME.news\"]\nno_ack = true\nallow_rollup_hdrs = true\n[[tenant.stream]]\nname = \"ALL\"\nsubjects = [\"GLOBEX.x\"]\nallow_msg_schedules = true\n[[tenant.stream.source]]\nname = \"NEWS\"\n[[tenant.stream]]\nname = \"OWN\"\nsubjects = [\"GLOBEX.own\"]\nallow_rollup_hdrs = true\n[[share]]\nfrom = \"ACME\"\nto = [\"GLOBEX\"]\nstream = \"ACME.news\"",
        ),
    ),
    (
        "a_copy_between_tenants_called_js",
        Add(
            "[[tenant]]\nname = \"JS\"\n[tenant.jetstream]\nstorage = \"64MiB\"\n[[tenant.user]]\nname = \"app\"\n[[tenant.stream]]\nname = \"S\"\nsubjects = [\"JS.s\"]\n[[share]]\nfrom = \"JS\"\nto = [\"ACME\"]\njetstream = \"S\"",
        ),
    ),
    (
        "a_delivery_that_comes_back_and_mistyped_copies",
        Add(
            "[tenant.jetstream]\nstorage = \"64MiB\"\n[[tenant.stream]]\nname = \"JOBS\"\nsubjects = [\"GLOBEX.job.>\"]\n[[tenant.stream.consumer]]\nname = \"w\"\ndeliver_subject = \"GLOBEX.job.worker\"\n[[tenant.stream]]\nname = \"OWN\"\nsubjects = [\"GLOBEX.own\"]\n[[tenant]]\nname = \"X\"\n[tenant.jetstream]\nstorage = \"64MiB\"\n[[tenant.user]]\nname = \"app\"\n[[tenant.stream]]\nname = \"A\"\nmirror = { name = \"JOBS\", from = \"GLOBX\" }\n[[tenant.stream]]\nname = \"B\"\nmirror = { name = \"JOBBS\", from = \"GLOBEX\" }\n[[tenant.stream]]\nname = \"C\"\nmirror = { name = \"JOBS\" }\n[[tenant.stream]]\nname = \"D\"\nmirror = { name = \"OWN\", from = \"GLOBEX\" }\n[[tenant.stream]]\nname = \"E\"\nsubjects = [\"X.e\"]\n[[tenant.stream.source]]\nname = \"JOBS\"\nfrom = \"GLOBEX\"\n[[tenant.stream]]\nname = \"F\"\nsubjects = [\"X.f\"]\n[[tenant.stream.source]]\nname = \"E\"\n[[share]]\nfrom = \"GLOBEX\"\nto = [\"X\"]\njetstream = \"JOBS\"",
        ),
    ),
    ("name_of_the_provisioner", Replace("name = \"app\"\n\n[[tenant]]", "name = \"Provisioner\"\n\n[[tenant]]")),
    // -------------------------------------------------------------- warnings
    (
        "many_at_once",
        Whole(
            "version = 1\nfrobnicate = 1\n[server]\nclient = \"4222\"\nmax_payload = 5\n[[tenant]]\nname = \"a b\"\n[[tenant]]\nname = \"X\"\nsubjects = [\"x.>.y\"]\n[[tenant.user]]\nname = \"u\"\nrole = \"root\"\n[[share]]\nfrom = \"X\"\nto = [\"Y\"]\nstream = \"X.s\"\n",
        ),
    ),
    ("text_beyond_ascii", Replace("name = \"dev\"", "name = \"d\u{e9}v \u{1F980}\"")),
    ("escape_sequences_in_a_name", Replace("\"ACME\"", "\"AC\\u001b[31mME\"")),
];

fn registry(change: &Change) -> String {
    match change {
        Whole(text) => (*text).to_owned(),
        Replace(from, to) => {
            assert!(GOOD.contains(from), "the good registry has no {from:?}");
            GOOD.replacen(from, to, 1)
        }
        Add(more) => format!("{GOOD}{more}"),
    }
}

/// Checks one registry and gives what a person sees and the rules that a program sees.
fn check(text: &str) -> (String, BTreeSet<String>) {
    let project = Project::with_registry(text);
    let seen = project.run(&["check"]);
    let json = project.run(&["check", "--format", "json"]);
    assert_eq!(json.code, seen.code);
    let findings = json.json()["findings"].clone();
    let rules = findings.as_array().expect("findings").iter();
    (seen.all(), rules.map(|f| f["rule"].as_str().expect("a rule").to_owned()).collect())
}

/// Ports are this run's own; all have five digits.
fn mask_port(line: &str) -> String {
    let Some((before, after)) = line.split_once("127.0.0.1:") else { return line.to_owned() };
    if !after.starts_with(|c: char| c.is_ascii_digit()) {
        return line.to_owned();
    }
    format!("{before}127.0.0.1:PORT{}", after.trim_start_matches(|c: char| c.is_ascii_digit()))
}

#[test]
fn every_mistake_has_its_message() {
    assert_eq!(check(GOOD).1, BTreeSet::new(), "the registry that all cases are made from is good");
    let mut names = BTreeSet::new();
    let mut rules = BTreeSet::new();
    for (name, change) in CASES {
        assert!(names.insert(*name), "two cases are called {name}");
        let (seen, found) = check(&registry(change));
        assert!(!found.is_empty(), "{name} is accepted:\n{seen}");
        rules.extend(found);
        let seen = seen.lines().map(mask_port).collect::<Vec<_>>().join("\n");
        insta::assert_snapshot!(*name, seen);
    }
    // Every rule is shown by a case here or by a test below, and every rule that is shown is listed.
    let elsewhere = ["foreign-secret"].map(str::to_owned);
    let shown: BTreeSet<String> = rules.into_iter().chain(elsewhere).collect();
    let listed: BTreeSet<String> = tenantry::registry::RULES.iter().map(|r| (*r).to_owned()).collect();
    // Keys that do not agree have a case each beside their tables.
    let shown: BTreeSet<String> =
        shown.into_iter().filter(|code| !tenantry::registry::conflict_codes().any(|c| c == code)).collect();
    assert_eq!(shown, listed);
}

/// A file that a team owns cannot share another team's messages, nor bring keys of the main file.
#[test]
fn included_files_are_checked_too() {
    let project = Project::with_registry(&GOOD.replace("version = 1", "version = 1\ninclude = [\"tenants.d/*.toml\"]"));
    project.write("tenants.d/initech.toml", "[[tenant]]\nname = \"INITECH\"\n[[tenant.user]]\nname = \"app\"\n");
    project.run(&["check"]).succeeded();
    project.write(
        "tenants.d/evil.toml",
        "[keys]\nroot = \"env:MINE\"\n[[tenant]]\nname = \"EVIL\"\nnmae = \"x\"\n[[tenant.user]]\nname = \"app\"\nauth = \"password\"\npassword_env = \"PATH\"\n\
         [[share]]\nfrom = \"ACME\"\nto = [\"EVIL\"]\nstream = \"ACME.>\"\n",
    );
    insta::assert_snapshot!("included_file", project.run(&["check"]).exited(2).all());
    // A broken included file does not make the others' words wrong.
    project.write("tenants.d/evil.toml", "[[tenant]\nname = \"EVIL\"\n");
    let more = "[[share]]\nfrom = \"EVIL\"\nto = [\"ACME\"]\nstream = \"EVIL.x\"\n";
    let text = project.read("tenants.toml");
    project.write("tenants.toml", &format!("{text}{more}"));
    insta::assert_snapshot!("included_file_with_broken_toml", project.run(&["check"]).exited(2).all());
}

/// A link leads to files that its writer may not read, and a pipe has no end.
#[test]
fn an_included_file_is_a_regular_file() {
    let project = Project::with_registry(&GOOD.replace("version = 1", "version = 1\ninclude = [\"tenants.d/*.toml\"]"));
    let tenant = "[[tenant]]\nname = \"INITECH\"\n[[tenant.user]]\nname = \"app\"\n";
    project.write("tenants.d/initech.toml", tenant);
    project.write("elsewhere/secret", "a line that nobody should see");
    project.run(&["check"]).succeeded();
    // As in a shell, `*` matches no hidden file: an editor's lock is a link that leads nowhere.
    std::os::unix::fs::symlink("user@host.1", project.path().join("tenants.d/.#initech.toml")).expect("a link");
    project.write("tenants.d/.parked.toml", "no = ");
    project.run(&["check"]).succeeded();
    let link = project.path().join("tenants.d/link.toml");
    std::os::unix::fs::symlink("../elsewhere/secret", &link).expect("a link");
    let ran = project.run(&["check"]).exited(2);
    assert!(ran.all().contains("link.toml is a symbolic link") && !ran.all().contains("nobody"), "{}", ran.all());
    std::fs::remove_file(link).expect("removed");
    let pipe = project.path().join("tenants.d/pipe.toml");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo").success());
    let ran = project.run(&["check"]).exited(2);
    assert!(ran.all().contains("pipe.toml is no regular file"), "{}", ran.all());
}

#[test]
fn files_that_are_no_registry_are_said_to_be() {
    let project = Project::new();
    std::fs::write(project.path().join("binary.toml"), b"version = 1\n\xff\xfe").expect("write");
    std::fs::create_dir(project.path().join("folder.toml")).expect("create a folder");
    let mut seen = String::new();
    for file in ["nowhere.toml", "binary.toml", "folder.toml"] {
        seen += &project.run(&["check", "-f", file]).exited(2).all();
    }
    insta::assert_snapshot!("no_registry", seen);
}

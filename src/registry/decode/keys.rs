//! [`keys!`] and [`words!`]: one declaration generates the type, its decoder, the known keys
//! and the JSON Schema.

use serde_json::{Map, Value as Json};

/// Adds one key to a table's schema. `field` is the schema of its value and whether the key
/// is required.
pub fn property(
    schema: &mut Map<String, Json>,
    required: &mut Vec<Json>,
    key: &str,
    docs: &[&str],
    field: (Json, bool),
) {
    let (mut value, is_required) = field;
    let description = docs.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ");
    if let Some(object) = value.as_object_mut() {
        object.insert("description".into(), description.into());
    }
    schema.insert(key.into(), value);
    if is_required {
        required.push(key.into());
    }
}

/// Declares tables of the registry. This declaration
///
/// ```ignore
/// keys! {
///     /// Limits of an account.
///     Limits, "[tenant.limits]" {
///         /// Connections at a time. Default 100.
///         connections: Key<Spanned<Count>>,
///         /// The account's name.
///         name: Spanned<AccountName>,
///     }
/// }
/// ```
///
/// generates `struct Limits { connections, name, span }`, whose fields keep
/// their source locations. The field's type determines what may be written: `Spanned<T>` is
/// required; `Key<T>` is optional (`Key::Absent`), and `Key::Invalid` if it is
/// unreadable, so that no later check reports it again. `List<T>` is a list or
/// an array of tables. `"[tenant.limits]"` is the table's name in messages; the
/// doc comments become the descriptions of the JSON Schema and the rows of
/// docs/registry.md. `Limits::decode` decodes every key, reports every unknown one
/// with the nearest known name, and returns `None` if the value is not a table or a
/// required key is missing or unreadable.
macro_rules! keys {
    ($(
        $(#[doc = $table_doc:literal])*
        $table:ident, $what:literal {
            $( $(#[doc = $doc:literal])* $key:ident: $type:ty, )*
        }
    )*) => {$(
        $(#[doc = $table_doc])*
        #[derive(Debug, Clone)]
        pub struct $table {
            $( $(#[doc = $doc])* pub $key: $type, )*
            /// Location of the table in the registry.
            #[allow(dead_code, reason = "every table keeps its place")]
            pub span: $crate::diag::Span,
        }

        impl $crate::registry::decode::Decode for $table {
            fn decode(
                node: &$crate::registry::decode::Node<'_>,
                d: &mut $crate::registry::decode::Decoder<'_>,
            ) -> Option<Self> {
                let mut table = d.table(node, $what)?;
                table.refuse_unknown(&[$(stringify!($key)),*], d);
                $( let $key = <$type as $crate::registry::decode::Field>::take(stringify!($key), &table, d); )*
                Some(Self { $( $key: $key?, )* span: table.span })
            }

            fn schema() -> serde_json::Value {
                let (mut properties, mut required) = (serde_json::Map::new(), Vec::new());
                $( $crate::registry::decode::property(
                    &mut properties,
                    &mut required,
                    stringify!($key),
                    &[$($doc),*],
                    (
                        <$type as $crate::registry::decode::Field>::schema(),
                        <$type as $crate::registry::decode::Field>::REQUIRED,
                    ),
                ); )*
                let description = [$($table_doc),*].map(str::trim).join(" ");
                serde_json::json!({
                    "type": "object",
                    "description": description,
                    "properties": properties,
                    "required": required,
                    "additionalProperties": false,
                })
            }
        }
    )*};
}
pub(crate) use keys;

/// Declares an enum that is written as one of a few words.
macro_rules! words {
    ($( $(#[doc = $doc:literal])* $name:ident, $what:literal { $( $(#[doc = $word_doc:literal])* $variant:ident = $word:literal, )* } )*) => {$(
        $(#[doc = $doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
        pub enum $name {
            $( $(#[doc = $word_doc])* #[serde(rename = $word)] $variant, )*
        }

        impl $name {
            /// The word in the registry.
            #[allow(dead_code, reason = "every word can be written back")]
            pub fn as_str(self) -> &'static str {
                match self { $( Self::$variant => $word, )* }
            }
        }

        impl $crate::registry::decode::Scalar for $name {
            const RULE: &'static str = $crate::registry::codes::UNKNOWN_WORD;
            const WHAT: &'static str = $what;
            const HINT: &'static str = concat!("one of" $(, " `", $word, "`")*);
            fn parse(text: &str) -> Result<Self, String> {
                match text {
                    $( $word => Ok(Self::$variant), )*
                    _ => Err(match $crate::diag::nearest(text, [$($word),*]) {
                        Some(near) => format!("did you mean `{near}`?"),
                        None => "unknown word".to_owned(),
                    }),
                }
            }
            fn schema() -> serde_json::Value {
                serde_json::json!({ "enum": [$($word),*] })
            }
        }
    )*};
}
pub(crate) use words;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::diag::Spanned;
    use crate::registry::codes;
    use crate::registry::decode::{Decode, Int, Key, List};
    use crate::registry::testing::{decode_value, refusal_of};

    keys! {
        /// A dish,
        /// on a menu.
        Dish, "a dish" {
            /// What it is called.
            name: Spanned<String>,
            /// How hot it is.
            heat: Key<Spanned<Int<1, 5>>>,
            /// What goes with it.
            sides: List<Spanned<Side>>,
        }
    }

    words! {
        /// What goes with a dish.
        Side, "a side" {
            /// Rice.
            Rice = "rice",
            /// Bread.
            Bread = "bread",
        }
    }

    #[test]
    fn the_schema_has_the_doc_comments_the_types_and_the_required_keys() {
        let schema = Dish::schema();
        assert_eq!(schema["description"], "A dish, on a menu.");
        assert_eq!(schema["required"], json!(["name"]));
        assert_eq!(schema["additionalProperties"], json!(false));
        assert_eq!(schema["properties"]["name"], json!({ "type": "string", "description": "What it is called." }));
        assert_eq!(schema["properties"]["heat"]["maximum"], 5);
        assert_eq!(schema["properties"]["sides"]["items"], json!({ "enum": ["rice", "bread"] }));
    }

    #[test]
    fn a_declared_table_reads_what_its_schema_allows() {
        let (dish, diagnostics) = decode_value::<Dish>("{ name = \"dal\", heat = 3, sides = [\"rice\"] }");
        let dish = dish.expect("a dish");
        assert!(diagnostics.is_empty(), "{diagnostics:?}");
        assert_eq!((dish.name.value.as_str(), dish.heat.get().map(|h| h.value.0)), ("dal", Some(3)));
        assert_eq!(dish.sides.iter().map(|s| s.value).collect::<Vec<_>>(), [Side::Rice]);
        assert_eq!(dish.span.start, 8, "behind `value = `");
        assert!(decode_value::<Dish>("{ name = \"dal\", heat = 6 }").1.iter().any(|d| d.rule == codes::OUT_OF_RANGE));
    }

    #[test]
    fn each_word_reads_as_it_is_written() {
        for (text, side) in [("\"rice\"", Side::Rice), ("\"bread\"", Side::Bread)] {
            assert_eq!(decode_value::<Side>(text).0, Some(side));
            assert_eq!(format!("\"{}\"", side.as_str()), text);
        }
    }

    #[test]
    fn an_unknown_word_lists_the_words_and_suggests_the_nearest() {
        let near = refusal_of::<Side>("\"rise\"");
        assert_eq!((near.rule, near.label.as_str()), (codes::UNKNOWN_WORD, "did you mean `rice`?"));
        assert_eq!(near.hint.as_deref(), Some("one of `rice` `bread`"));
        assert_eq!(refusal_of::<Side>("\"chips\"").label, "unknown word");
    }
}

//! The limits that a stream sets for its consumers (`consumer_limits`). nats-server refuses limits below what a consumer
//! has, and a consumer that has more than the limits.

use serde_json::{Value as Json, json};

use super::losses::limit;

/// The values of a consumer that they limit.
const LIMITED: [&str; 2] = ["max_ack_pending", "inactive_threshold"];

/// The name of a value of a consumer that is above the limits.
pub fn exceeded(limits: &Json, consumer: &Json) -> Option<&'static str> {
    let is_above = |name: &&str| limit(&limits[*name]).is_some_and(|most| consumer[*name].as_u64() > Some(most));
    LIMITED.into_iter().find(|name| is_above(name))
}

/// The limits that allow what either of two allows. `None`: one of the two does.
pub fn widest(from: &Json, to: &Json) -> Option<Json> {
    let wider = |name: &&str| Some(limit(&from[*name])?.max(limit(&to[*name])?));
    let widest: serde_json::Map<String, Json> =
        LIMITED.iter().filter_map(|name| Some(((*name).to_owned(), json!(wider(name)?)))).collect();
    let widest = Json::Object(widest);
    let is_one = |limits: &Json| LIMITED.iter().all(|name| limit(&limits[*name]) == limit(&widest[*name]));
    (!is_one(from) && !is_one(to)).then_some(widest)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Measured on nats-server 2.15.1: 10069.
    #[test]
    fn limits_go_no_lower_than_what_a_consumer_has() {
        for (limits, consumer, expected) in [
            (json!({ "max_ack_pending": 10 }), json!({ "max_ack_pending": 1000 }), Some("max_ack_pending")),
            (json!({ "max_ack_pending": 10 }), json!({ "max_ack_pending": -1 }), None),
            (json!({ "max_ack_pending": 10 }), json!({ "max_ack_pending": 10 }), None),
            (json!({ "max_ack_pending": -1 }), json!({ "max_ack_pending": 10 }), None),
            (json!({ "inactive_threshold": 5 }), json!({ "max_ack_pending": 1000 }), None),
            (json!({ "inactive_threshold": 5 }), json!({ "inactive_threshold": 6 }), Some("inactive_threshold")),
            (json!({}), json!({ "inactive_threshold": 6 }), None),
        ] {
            assert_eq!(exceeded(&limits, &consumer), expected, "{limits} {consumer}");
        }
    }

    #[test]
    fn limits_of_which_one_rises_and_one_falls_have_wider_ones_between_them() {
        let limits =
            |pending: i64, threshold: i64| json!({ "max_ack_pending": pending, "inactive_threshold": threshold });
        assert_eq!(widest(&limits(5, 20), &limits(50, 10)), Some(limits(50, 20)));
        assert_eq!(widest(&limits(5, 20), &limits(0, 10)), Some(json!({ "inactive_threshold": 20 })));
        assert_eq!(widest(&limits(5, 20), &limits(5, 10)), None, "the old ones");
        assert_eq!(widest(&limits(5, 20), &limits(6, 20)), None, "the new ones");
        assert_eq!(widest(&json!({}), &limits(1, 1)), None);
    }
}

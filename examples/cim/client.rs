//! A client of the `cim` example: connects with what `cim_app.env` holds, makes sure
//! that the stream is there, stores an event and reads it back from the projection.

#![allow(clippy::print_stdout)] // a program that says what it does

use std::env;
use std::error::Error;

use async_nats::jetstream::{self, consumer::PullConsumer};
use futures_util::StreamExt as _;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let options =
        async_nats::ConnectOptions::with_user_and_password(env::var("NATS_USER")?, env::var("NATS_PASSWORD")?)
            .custom_inbox_prefix(env::var("NATS_INBOX_PREFIX")?);
    let client = options.connect(env::var("NATS_URL")?).await?;
    let context = jetstream::new(client);

    // It is declared in the registry: that it is missing is an error, not a reason to make another.
    let stream = context.get_stream("CIM_EVENTS").await?;
    let ack = context.publish("events.graph.node-added", "{\"node\": 1}".into()).await?.await?;
    println!("stored as number {} of {}", ack.sequence, ack.stream);

    let projection: PullConsumer = stream.get_consumer("GRAPH_PROJECTION").await?;
    let mut batch = projection.fetch().max_messages(1).messages().await?;
    let message = batch.next().await.ok_or("nothing was delivered")??;
    message.ack().await?;
    println!("projected {}", message.subject);
    Ok(())
}

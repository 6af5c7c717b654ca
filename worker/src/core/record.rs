//! What a valid line says.

use super::amount::Amount;
use super::time::EventTime;

/// A place on the globe, in degrees.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// Longitude.
    pub lon: f64,
    /// Latitude.
    pub lat: f64,
}

/// Which end of a ride a line reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RideKind {
    /// `START`: the event time is the start of the ride.
    Start,
    /// `END`: the event time is the end of the ride, the other time its start.
    End,
}

/// A line of the rides topic.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ride {
    /// The key that it shares with its fare.
    pub id: i64,
    /// Start or end.
    pub kind: RideKind,
    /// When it happened.
    pub event_time: EventTime,
    /// The start in an END line; the epoch in a START line.
    pub other_time: EventTime,
    /// Where the ride starts.
    pub start: Point,
    /// Where the ride ends.
    pub end: Point,
    /// Passengers.
    pub passengers: i32,
    /// Taxi.
    pub taxi_id: i64,
    /// Driver.
    pub driver_id: i64,
}

/// A line of the fares topic; its payment type is borrowed from the line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fare<'a> {
    /// The key that it shares with its ride.
    pub id: i64,
    /// Taxi.
    pub taxi_id: i64,
    /// Driver.
    pub driver_id: i64,
    /// When the ride started: the event time of a fare.
    pub start_time: EventTime,
    /// `CSH`, `CRD`, or whatever the line says.
    pub payment_type: &'a str,
    /// Tip.
    pub tip: Amount,
    /// Tolls.
    pub tolls: Amount,
    /// Total, tip and tolls included.
    pub total: Amount,
}

// Package fleet is the contract of Harmony Fleet: the domain types and every name on the wire.
//
// A platform engineer writes a Deployment: this score, on every device whose labels match this
// selector. Three services carry the wish to the devices and the truth back. What they say to each
// other, and where they leave it, is defined here and nowhere else:
//
//   - names and identities: [DeviceID], [DeploymentName], [Pair]
//   - buckets and keys (NATS JetStream KV): [BucketDesiredState], [DesiredKey], [ParseKey] …
//   - values: [Desired], [Report], [DeviceInfo], [MirrorDeployment], [MirrorDevice], [Tombstone],
//     [Applied], [Hold]
//   - subjects and endpoints (NATS micro): [Endpoint], [Endpoints]
//   - requests, responses and [Error]s
//   - the status of a Deployment: [DeploymentStatus]
//
// The package imports nothing but the standard library and performs no I/O. Every builder of a name
// shows its result in its comment; the parser beside it is its inverse and refuses what no legal name
// would build. Builders do not validate: validate identities where they enter the process.
//
// Values are JSON, read as encoding/json does, with limits on size and depth. The bytes of desired
// values are canonical ([Canonical], [EncodeDesired]) and frozen: a device is told apart from its wish
// by their hash. Package decode reads reports faster, with the same result.
package fleet

// Package wish reads Deployments as people write them: files of YAML or JSON documents, with whatever else is in them.
//
// It reads as kubectl does, and refuses what the Kubernetes API would refuse: fields that are not of the kind, fields
// that are there twice, a selector or a score that is not one. Each document knows where it begins, and an error names
// the line that it is about. It is pure: its caller opens the files.
package wish

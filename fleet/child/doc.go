// Package child runs child processes that end with their parent.
//
// The parent holds the writing end of a pipe that is the child's standard input. When the parent ends,
// however it ends, the pipe closes and the child reads the end of its input. A child that watches for
// that (the services do with --exit-with-parent) leaves nothing behind, also after a SIGKILL.
//
// A child has a process group of its own: a Ctrl-C in the terminal reaches the parent alone, which
// ends its children in the order it wants.
package child

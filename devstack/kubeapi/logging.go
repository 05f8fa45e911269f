package main

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"log/slog"

	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
)

// setupLogging returns the program's own logger and turns klog, which the Kubernetes packages log
// with, down to the same level. Both write to stderr.
func setupLogging(stderr io.Writer, level string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, fmt.Errorf("reading --log-level: %w", err)
	}

	flags := flag.NewFlagSet("klog", flag.ContinueOnError)
	klog.InitFlags(flags)
	verbosity := "0"
	if l <= slog.LevelDebug {
		verbosity = "4"
	}
	for name, value := range map[string]string{
		"logtostderr":     "false",
		"stderrthreshold": "FATAL", // below it, nothing goes to standard error past the writers set here
		"one_output":      "true",
		"v":               verbosity,
	} {
		if err := flags.Set(name, value); err != nil {
			return nil, fmt.Errorf("setting klog's %s: %w", name, err)
		}
	}
	for severity, from := range map[string]slog.Level{
		"INFO":    slog.LevelInfo,
		"WARNING": slog.LevelWarn,
		"ERROR":   slog.LevelError,
		"FATAL":   slog.LevelError,
	} {
		out := io.Discard
		if from >= l {
			out = stderr
		}
		klog.SetOutputBySeverity(severity, withoutNoise{out})
	}
	// the server need not warn itself of what it serves
	rest.SetDefaultWarningHandler(rest.NoWarnings{})

	return slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: l})), nil
}

// startNoise are texts of records that a start may write and that mean nothing: old versions of groups
// are not served, and the first start makes kube-system while others already look for it and try again.
var startNoise = [][]byte{
	[]byte("because it has no resources"),
	[]byte(`namespaces \"kube-system\" not found`),
}

// withoutNoise relies on klog to write each record with one call.
type withoutNoise struct{ out io.Writer }

func (w withoutNoise) Write(record []byte) (int, error) {
	for _, text := range startNoise {
		if bytes.Contains(record, text) {
			return len(record), nil
		}
	}
	return w.out.Write(record)
}

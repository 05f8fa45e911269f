// Command wget is what the health check of the public NATS image calls: `wget -q -O - URL`. It stands in for
// that image's own where the image cannot be had.
package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"
)

func main() {
	url := os.Args[len(os.Args)-1]
	if len(os.Args) < 2 || !strings.HasPrefix(url, "http://") {
		fmt.Fprintln(os.Stderr, "usage: wget [-q] [-O -] http://…")
		os.Exit(1)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		fmt.Fprintln(os.Stderr, "wget:", err)
		os.Exit(1)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		fmt.Fprintln(os.Stderr, "wget:", err)
		os.Exit(4)
	}
	_, _ = io.Copy(os.Stdout, resp.Body)
	if resp.StatusCode >= http.StatusBadRequest {
		fmt.Fprintln(os.Stderr, "wget: server returned", resp.Status)
		os.Exit(8)
	}
}

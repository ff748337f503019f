// The app of the node's tests, small enough for an image FROM scratch: it serves its pod's name, or asks for a URL.
//
// usage: app serve :PORT      answers every request with the host's name and a line in the log; ends on SIGTERM
//
//	app get URL          prints the body; ends with 1 when there is none within 5 s
package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	if len(os.Args) != 3 {
		fail(fmt.Errorf("usage: app serve :PORT | app get URL"))
	}
	switch os.Args[1] {
	case "serve":
		serve(os.Args[2])
	case "get":
		get(os.Args[2])
	default:
		fail(fmt.Errorf("app knows serve and get, not %q", os.Args[1]))
	}
}

func serve(address string) {
	name, err := os.Hostname()
	if err != nil {
		fail(err)
	}
	// The first process of a container is not ended by a signal that it does not handle.
	stop, _ := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	server := &http.Server{Addr: address, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Println("asked for", r.URL.Path)
		fmt.Fprintln(w, name)
	})}
	go func() {
		<-stop.Done()
		os.Exit(0)
	}()
	fail(server.ListenAndServe())
}

func get(url string) {
	client := http.Client{Timeout: 5 * time.Second}
	response, err := client.Get(url)
	if err != nil {
		fail(err)
	}
	if _, err := io.Copy(os.Stdout, response.Body); err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

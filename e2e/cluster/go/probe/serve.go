package main

import (
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"

	"golang.org/x/crypto/bcrypt"
)

// serve answers until one of its listeners fails. Several addresses of one kind are separated by commas.
func serve(arguments []string) int {
	set := flag.NewFlagSet("serve", flag.ExitOnError)
	web := set.String("http", "", "addresses that answer any request with text, host name and caller")
	text := set.String("text", "hello", "what to answer")
	tcpEcho := set.String("tcp-echo", "", "addresses that return the bytes they get")
	udpEcho := set.String("udp-echo", "", "addresses that return the datagrams they get")
	_ = set.Parse(arguments)
	must(set.NArg() == 0 && *web+*tcpEcho+*udpEcho != "")
	failed := make(chan error)
	start := func(list string, run func(string) error) {
		for address := range strings.SplitSeq(list, ",") {
			if address != "" {
				go func() { failed <- run(address) }()
			}
		}
	}
	start(*web, func(address string) error { return http.ListenAndServe(address, answer(*text)) })
	start(*tcpEcho, echoTCP)
	start(*udpEcho, echoUDP)
	fmt.Fprintln(os.Stderr, <-failed)
	return 1
}

func answer(text string) http.Handler {
	host, _ := os.Hostname()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Printf("%s %s from %s\n", r.Method, r.URL, r.RemoteAddr)
		fmt.Fprintf(w, "%s %s %s\n", text, host, r.RemoteAddr)
	})
}

func echoTCP(address string) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	for {
		connection, err := listener.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer connection.Close()
			_, _ = io.Copy(connection, connection)
		}()
	}
}

func echoUDP(address string) error {
	socket, err := net.ListenPacket("udp", address)
	if err != nil {
		return err
	}
	buffer := make([]byte, 65536)
	for {
		length, peer, err := socket.ReadFrom(buffer)
		if err != nil {
			return err
		}
		_, _ = socket.WriteTo(buffer[:length], peer)
	}
}

// forward joins two network namespaces: a socket belongs to the namespace it was made in, so the one inherited
// listens outside while this process dials inside.
func forward(arguments []string) int {
	set := flag.NewFlagSet("forward", flag.ExitOnError)
	descriptor := set.Uint("fd", 3, "the listening socket")
	_ = set.Parse(arguments)
	must(set.NArg() == 1)
	listener, err := net.FileListener(os.NewFile(uintptr(*descriptor), "listener"))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	for {
		outer, err := listener.Accept()
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		go relay(outer, set.Arg(0))
	}
}

func relay(outer net.Conn, target string) {
	defer outer.Close()
	inner, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	defer inner.Close()
	done := make(chan struct{}, 2)
	pump := func(to, from net.Conn) {
		_, _ = io.Copy(to, from)
		if half, ok := to.(*net.TCPConn); ok {
			_ = half.CloseWrite()
		}
		done <- struct{}{}
	}
	go pump(inner, outer)
	go pump(outer, inner)
	<-done
	<-done
}

func htpasswd(arguments []string) int {
	must(len(arguments) == 2)
	hash, err := bcrypt.GenerateFromPassword([]byte(arguments[1]), bcrypt.MinCost)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Printf("%s:%s\n", arguments[0], hash)
	return 0
}

package main

import (
	"context"
	"crypto/tls"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
)

const bodyLimit = 1 << 20

func get(arguments []string) int {
	set := flag.NewFlagSet("get", flag.ExitOnError)
	timeout := set.Duration("timeout", 3*time.Second, "for the whole request")
	insecure := set.Bool("insecure", false, "accept any certificate")
	header := set.String("header", "", "one header, as Name: value")
	_ = set.Parse(arguments)
	must(set.NArg() == 1)
	request, err := http.NewRequest(http.MethodGet, set.Arg(0), nil)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	if name, value, ok := strings.Cut(*header, ":"); ok {
		request.Header.Set(name, strings.TrimSpace(value))
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: *insecure}}
	client := http.Client{Timeout: *timeout, Transport: transport}
	response, err := client.Do(request)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer response.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(response.Body, bodyLimit))
	fmt.Printf("%d %s", response.StatusCode, body)
	return 0
}

func tcp(arguments []string) int {
	p := newPacing("tcp", time.Millisecond)
	target := p.target(arguments)
	r, start := newResult(), time.Now()
	p.repeat(func() {
		r.Tries++
		connection, err := net.DialTimeout("tcp", target, p.timeout)
		if err != nil {
			r.Error = err.Error()
			return
		}
		r.answered(start)
		_ = connection.Close()
	})
	return r.finish(p.stay)
}

// udp sends even while nothing answers: what arrived is counted at the far end.
func udp(arguments []string) int {
	p := newPacing("udp", time.Millisecond)
	target := p.target(arguments)
	r, start := newResult(), time.Now()
	connection, err := net.Dial("udp", target)
	if err != nil {
		r.Error = err.Error()
		return r.finish(p.stay)
	}
	answers := atomic.Int64{}
	go func() {
		buffer := make([]byte, 2048)
		for {
			if _, err := connection.Read(buffer); err == nil {
				answers.Add(1)
			} else if strings.Contains(err.Error(), "closed") {
				return
			}
		}
	}()
	p.repeat(func() {
		r.Tries++
		if _, err := fmt.Fprintf(connection, "%d", time.Since(start).Microseconds()); err != nil {
			r.Error = err.Error()
		}
	})
	for wait := time.Now(); answers.Load() == 0 && time.Since(wait) < p.timeout; {
		time.Sleep(time.Millisecond)
	}
	for range answers.Load() {
		r.answered(start)
	}
	return r.finish(p.stay)
}

// ping needs CAP_NET_RAW, or a group within net.ipv4.ping_group_range.
func ping(arguments []string) int {
	p := newPacing("icmp", 100*time.Millisecond)
	target := p.target(arguments)
	r, start := newResult(), time.Now()
	address, err := net.ResolveIPAddr("ip4", target)
	if err != nil {
		r.Error = err.Error()
		return r.finish(p.stay)
	}
	var peer net.Addr = &net.UDPAddr{IP: address.IP}
	socket, err := icmp.ListenPacket("udp4", "0.0.0.0")
	if err != nil {
		peer = address
		socket, err = icmp.ListenPacket("ip4:icmp", "0.0.0.0")
	}
	if err != nil {
		r.Error = err.Error()
		return r.finish(p.stay)
	}
	p.repeat(func() {
		r.Tries++
		if err := echo(socket, peer, r.Tries, p.timeout); err != nil {
			r.Error = err.Error()
			return
		}
		r.answered(start)
	})
	return r.finish(p.stay)
}

func echo(socket *icmp.PacketConn, peer net.Addr, sequence int, timeout time.Duration) error {
	request := icmp.Message{Type: ipv4.ICMPTypeEcho, Body: &icmp.Echo{ID: os.Getpid() & 0xffff, Seq: sequence, Data: []byte("probe")}}
	packet, err := request.Marshal(nil)
	if err != nil {
		return err
	}
	if _, err := socket.WriteTo(packet, peer); err != nil {
		return err
	}
	_ = socket.SetReadDeadline(time.Now().Add(timeout))
	buffer := make([]byte, 1500)
	for {
		length, _, err := socket.ReadFrom(buffer)
		if err != nil {
			return err
		}
		reply, err := icmp.ParseMessage(1, buffer[:length])
		if err != nil || reply.Type != ipv4.ICMPTypeEchoReply {
			continue
		}
		if body, ok := reply.Body.(*icmp.Echo); ok && body.Seq == sequence {
			return nil
		}
	}
}

func resolve(arguments []string) int {
	set := flag.NewFlagSet("resolve", flag.ExitOnError)
	timeout := set.Duration("timeout", 3*time.Second, "for the whole question")
	_ = set.Parse(arguments)
	must(set.NArg() == 1)
	limited, cancel := context.WithTimeout(context.Background(), *timeout)
	defer cancel()
	addresses, err := net.DefaultResolver.LookupHost(limited, set.Arg(0))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println(strings.Join(addresses, " "))
	return 0
}

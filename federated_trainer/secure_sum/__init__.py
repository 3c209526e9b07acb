"""Secure aggregation: a server learns the sum of its clients' vectors while each vector stays masked.

The protocol is that of Bonawitz et al. 2017 ("Practical Secure Aggregation for Privacy-Preserving Machine Learning",
figure 4, with the consistency check); for many clients, the sparse graph of Bell et al. 2020 ("Secure Single-Server
Aggregation with (Poly)Logarithmic Overhead"). Five stages, each one message from and one to every client:

1. Advertise  each client signs two fresh X25519 public keys: one for masks, one for envelopes.
2. Share      it shares its mask key and its self-mask seed (Shamir) among its neighbours, sealed with AES-GCM.
3. Mask       it sends its vector in the ring, plus its self mask, plus or minus one pairwise mask a neighbour.
4. Confirm    it signs the set of clients whose masked vectors the server says it has.
5. Unmask     for each neighbour it gives one share: of the self-mask seed if that one survived, of the mask key if it
              dropped out, never both.

Adversary. With the complete graph and 2 * threshold > clients + colluding clients: a server that deviates in any way,
together with that many clients, learns no more than the sum over at least `threshold` clients (Bonawitz et al.,
section 6.2; identity keys come from a roster that the server does not make). With a sparse graph: a server that follows
the protocol and up to a fixed share of clients, except with the small probability of Bell et al., theorem 3.

Not covered: what the sum itself tells (with two clients, each knows the other's; this is what differential privacy is
for), a client that sends a false vector, denial of service, and traffic analysis.

The code is pure state machines without input or output: `client.ClientSession` and `server.ServerSession`.
"""

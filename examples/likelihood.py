"""Log-likelihoods in nats and bits per dimension, with error bars, beside the closed form."""

import sdesolve as ss

process = ss.VPSDE()
data = ss.GaussianMixture([0.3, 0.7], [[-1.0, 0.0, 0.5], [1.0, 0.5, 0.0]], 0.1)
x = data.sample(64, seed=0)
score = data.score(process)  # any score, also that of interop.diffusers.load(...)

exact = data.log_prob(x, process=process, t=process.eps)
for divergence in (ss.Exact(), ss.Hutchinson(probes=4)):
    ll = ss.log_likelihood(process, score, x, divergence=divergence, rtol=1e-6, atol=1e-6)
    error = (ll.log_prob - exact).mean()
    print(divergence, f"log p {ll.log_prob.mean():.4f} nats, off by {error:.1e}")
    print(f"  {ll.bits_per_dim.mean():.4f} bits/dim, {ll.nfe.float().mean():.0f} calls")

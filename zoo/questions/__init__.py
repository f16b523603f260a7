"""The questions that can be put to a model, one file each, found by their names.

A file holds a function of its name, which users call as ``zoo.<name>(model, …)``, and

==========  ============================================================================================================
``ASKED``   capability by name to a :class:`zoo.capability.Capability`: who can be asked, and how it is tried. Most
            questions are one capability of their own name
==========  ============================================================================================================

What a model offers to be asked, natively:

====================================  ==================================================================================
``classify(x)``                       log p(y | x), ``(B, K)``; with ``observed`` from the seen entries, where the model
                                      ``marginalises``
``log_prob(x, labels)``               log p(x), or log p(x | y), ``(B,)``; with ``observed`` of the seen entries, where
                                      the model ``marginalises``; with ``num_samples`` a bound from so many importance
                                      samples, where it has ``importance_samples``; with ``steps`` an estimate by so
                                      many of a solver, where it has ``density_steps``
``density``                           says what ``log_prob`` is: exact, a bound or an estimate, and of what
``sample(n, labels, generator)``      examples ``(n, C, H, W)``
``encode(x)``, ``features(x)``        codes ``(B, D)``
``reconstruct(x)``                    examples ``(B, C, H, W)``
``interpolate(n, steps, ends, …)``    examples ``(n, steps, C, H, W)``; with ``encode``, between ``ends`` too
``impute(x, observed, n, generator)`` examples ``(n, B, C, H, W)``
``conditional_mean(x, observed)``     examples ``(B, C, H, W)``: what :func:`zoo.impute` gives with ``mean=True``
``forecast(x, steps, generator)``     examples whose last steps are drawn given those before, or texts that go on; with
                                      ``observed``, where the model ``marginalises`` gaps of pictures
``anomaly_score(x)``                  ``(B,)``, higher is stranger
``contributions(x)``, ``offsets()``   what each column adds to the logits, ``(B, K, columns)``, and what they are
                                      without it, ``(K,)``; with ``observed`` where the model ``marginalises``
====================================  ==================================================================================
"""

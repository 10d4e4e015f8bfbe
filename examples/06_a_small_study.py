"""The package's question in small: does L2 change where the connections of an RBM and of an MLP gather?"""

import sparserbm as sr

if __name__ == "__main__":  # the runs go to worker processes, which import this file
    found = sr.study(
        "digits",
        models=("rbm", "mlp"),
        l2=(0.0, 3e-3),
        seeds=2,
        epochs=15,
        out="small-study",
        settings={"rbm": {"hidden": (100,)}, "mlp": {"hidden": (100, 30)}},
        progress=print,
    )
    for cell in found.summary():
        print(
            f"{cell['model']} with L2 {cell['l2']}: z {cell['learning_z']:+.1f} ± {cell['learning_z_sd']:.1f}, "
            f"{cell['positive']} of {cell['seeds']} seeds learn positively"
        )
    print(f"pictures and report.html are in {found.folder}")
